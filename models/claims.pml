/*
 * Claim, lease, park and finish: the protocol between Zart's workers and a storage, as zart/scheduler.py states it and
 * zart/schedulers/memory.py spells it out. Each transition names the rule that it stands for. An operation of storage is one
 * transition, as it is atomic there; whatever a worker does between two of them may be overtaken by anybody.
 *
 * The first execution's body is a step and a wait with a time limit, the second one's a wait. Alone, TIMED_ONE chooses between
 * the first and a body of two waits. WORKERS are identities: one that comes back after it was declared dead is another identity.
 * Bad luck is bounded by TROUBLE: requests that storage carries out and whose replies get lost, commits that arrive a second
 * time and late, processes that crash, or stop and wake, leases that run out under a living worker. What must happen in the end
 * (timers, the end of a dead worker's lease) costs nothing.
 *
 * What is asserted is said where it is asserted, by ghosts where the protocol itself would not tell: no transition looks at
 * those. A mutant is one rule broken by `-D NAME`; `make model` sees each refuted. That the first record wins (rule 3) is a
 * second line of defence and has no mutant: as long as fences hold, nobody can say anything else.
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef TROUBLE
#define TROUBLE 2
#endif
#ifndef EXECUTIONS
#define EXECUTIONS 2
#endif
#ifndef TIMED_ONE
#define TIMED_ONE 0
#endif
#define NONE 255

/* Without LIVENESS anything may go wrong for anybody. With it the last worker is one that lives: its process goes on, and its
 * lease is always renewed in time. */
#ifdef LIVENESS
#define MORTALS (WORKERS - 1)
#else
#define MORTALS WORKERS
#endif

mtype = { PENDING, RUNNING, WAITING, COMPLETED, CANCELLED };            /* zart.status.ExecutionStatus */
mtype = { NEVER, LATER, NOW };                                          /* due_at: None, in the future, passed */
mtype = { ALIVE, DEAD };                                                /* zart.schedulers.ledger.Life */
mtype = { RECORD, PARK, FINISH };                                       /* what a commit says */
mtype = { APPLIED, WITHHELD, LOST };                                    /* what becomes of it */

/* ---- what storage holds ---------------------------------------------------------------------------------------------- */

mtype status[EXECUTIONS] = PENDING;
mtype due[EXECUTIONS] = NOW;
byte fence[EXECUTIONS];
byte worker[EXECUTIONS] = NONE;
byte mail[EXECUTIONS];                                                  /* how many letters; they are numbered from 1 */
byte records[2 * EXECUTIONS];                                           /* two of each execution, 0: not there */
bool rang;                                                              /* the time limit of the first one's wait has passed */
mtype life[WORKERS] = ALIVE;
bool expired[WORKERS];                                                  /* its lease has passed by storage's clock */

#define AT(e, k) records[2 * (e) + (k)]
#define TERMINAL(e) (status[e] == COMPLETED || status[e] == CANCELLED)
#define TIMEOUT 100                                                     /* an outcome: the wait timed out */
#define LETTER 200                                                      /* an outcome: LETTER + n, the nth letter was taken */
#define TIMED(e) ((e) == TIMED_ONE)                                     /* its body: a step, and a wait with a time limit */
#define WANTED(e, k) (TIMED(e) -> 1 : (k) + 1)                          /* the letter that its operation k waits for */
#define OPERATIONS(e) (TIMED(e) || EXECUTIONS == 1 -> 2 : 1)            /* how many its body has */
#define SENT(e) (TIMED(e) -> 1 : OPERATIONS(e))                         /* how many letters are sent to it */

/* ---- the rest of the world ------------------------------------------------------------------------------------------- */

byte trouble = TROUBLE;
bool gone[WORKERS];                                                     /* crashed, or told that it is dead */
bool stopped[WORKERS];                                                  /* by SIGSTOP, a suspended laptop, a long pause */
byte held[WORKERS] = NONE;                                              /* the execution that it runs ... */
byte under[WORKERS];                                                    /* ... and under which fence */
#ifdef SLOW_BEATS
byte told[WORKERS * EXECUTIONS];                                        /* its claims of before its last good beat: fence + 1 */
#endif

#define UP(w) (!gone[w] && !stopped[w])

/* ---- ghosts: only assertions look at them ------------------------------------------------------------------------------ */

byte owner[EXECUTIONS] = NONE;                                          /* who has it by its last claim, until it is taken away */
byte accepted[EXECUTIONS];                                              /* fence of the last commit that was applied */
byte durable[2 * EXECUTIONS];                                           /* outcomes that a worker was told are saved */
byte finisher[EXECUTIONS];                                              /* fence of the commit that finished it */
byte known[EXECUTIONS];                                                 /* letters that the body had when it was parked */
bool buried[WORKERS];                                                   /* was declared dead */

#ifdef PASSIVE
#define check(x) skip
#else
#define check(x) assert(x)
#endif

/* Every change of a status goes through here. A finished execution stays as it is. */
inline become(e, s) {
    check(!TERMINAL(e));
    status[e] = s
}

/* Ledger._let_go and _end: a worker's hold ends. */
inline let_go(e, s, d) {
    become(e, s);
    worker[e] = NONE; owner[e] = NONE;
    due[e] = d
}

/* An event that was recorded is seen: nobody waits, without being due, beside a letter that the body never had. */
inline no_letter_lost(e) {
    check(!(status[e] == WAITING && due[e] != NOW && mail[e] > known[e]))
}

/* Rule 7, takeover and hand-back: fence raised, status pending, due now. */
inline take_from_worker(e) {
#ifndef TAKEOVER_KEEPS_FENCE
    fence[e]++;
#endif
    let_go(e, PENDING, NOW)
}

/* ---- rules 3 and 4: commit --------------------------------------------------------------------------------------------- */

inline commit(w, e, f, kind, k, value, seen, answer) {
    if
#ifndef NO_FENCE_CHECK
    :: fence[e] != f -> answer = LOST                                   /* rule 3: not the stored fence */
#endif
    :: else ->
        if
        :: status[e] == RUNNING ->
            /* Nobody writes but who holds it, and fences are accepted in their order. */
            check(owner[e] == w && fence[e] == f && f >= accepted[e]);
            accepted[e] = f;
            answer = APPLIED;
            if
            :: kind == RECORD ->
                if
                :: AT(e, k) != 0 -> skip                                /* rule 3: the first one wins */
#ifndef TIMEOUT_IGNORES_MAIL
                :: AT(e, k) == 0 && value == TIMEOUT && mail[e] > seen ->
                    answer = WITHHELD                                   /* rule 4: the mailbox has grown past it */
                :: AT(e, k) == 0 && !(value == TIMEOUT && mail[e] > seen) ->
#else
                :: else ->
#endif
                    /* No wait times out beside a letter that came before. */
                    check(!(value == TIMEOUT && mail[e] > 0));
                    AT(e, k) = value
                fi
#ifndef PARK_IGNORES_MAIL
            :: kind == PARK && mail[e] > seen -> let_go(e, PENDING, NOW) /* rule 4: due now instead of parked */
            :: kind == PARK && mail[e] <= seen ->
#else
            :: kind == PARK ->
#endif
                let_go(e, WAITING, (TIMED(e) -> LATER : NEVER))           /* rule 3: a move ends the worker's hold */
            :: kind == FINISH ->
                finisher[e] = f;
#ifdef END_LEAVES_DUE
                let_go(e, COMPLETED, NOW)
#else
                let_go(e, COMPLETED, NEVER)                             /* rule 3: absorbs everything */
#endif
            fi
        :: status[e] != RUNNING && kind == RECORD -> answer = LOST
        :: status[e] != RUNNING && kind != RECORD ->
            answer = APPLIED                                            /* rule 3: before its reply was lost */
        fi
    fi
}

/* An answer is true: what a worker is told is saved is what is stored, for ever. */
inline answered(e, f, kind, k, value, answer) {
    check(!(answer == APPLIED && kind == RECORD && AT(e, k) != value));
    check(!(answer == APPLIED && kind == FINISH && !(status[e] == COMPLETED && finisher[e] == f)));
    if
    :: answer == APPLIED && kind == RECORD -> durable[2 * e + k] = value
    :: else -> skip
    fi
}

/* No outcome is lost or replaced. */
inline no_outcome_lost(e) {
    check(durable[2 * e] == 0 || durable[2 * e] == AT(e, 0));
    check(durable[2 * e + 1] == 0 || durable[2 * e + 1] == AT(e, 1))
}

/* Rule 2: status running, fence + 1, this worker, `due_at` None; and with it come its records and its mail. */
inline hand_out(w, e, f, have, seen, letters) {
    check(!TERMINAL(e));                                                /* a finished execution never runs */
    check(owner[e] == NONE);                                            /* never one to two callers */
    become(e, RUNNING);
#ifndef CLAIM_KEEPS_FENCE
    fence[e]++;
#endif
    worker[e] = w; owner[e] = w;
#ifndef CLAIM_LEAVES_DUE
    due[e] = NEVER;
#endif
    f = fence[e];
    have = (AT(e, 0) != 0) + (AT(e, 1) != 0);
    seen = mail[e];
#ifdef SEEN_IS_THE_COUNTER
    letters = (mail[e] > 0 -> mail[e] - 1 : 0)                          /* the last came after they were read */
#else
    letters = mail[e]                                                   /* `seen` is the last mail really carried */
#endif
}

/* A commit that was repeated, although its first copy was only slow: the copy may arrive at any time, and tells nobody. */
chan late = [1] of { byte, byte, byte, mtype, byte, byte, byte };

active proctype Latecomer() {
    byte w, e, f, k, value, seen;
    mtype kind, answer;
    do
    :: d_step {
        late ? w, e, f, kind, k, value, seen ->
        commit(w, e, f, kind, k, value, seen, answer);
        no_letter_lost(e); no_outcome_lost(e);
        w = 0; e = 0; f = 0; kind = RECORD; k = 0; value = 0; seen = 0; answer = LOST
    }
    od
}

/* ---- a worker: zart.worker and zart.run ------------------------------------------------------------------------------- */

/* What the body does next. What is saved was handed back to it, so it goes on where it was. */
inline go_on(e, f, have, letters, kind, k, value) {
    if
    :: have == OPERATIONS(e) -> kind = FINISH
    :: have == 0 && TIMED(e) -> kind = RECORD; k = 0; value = f         /* a step: its value is who ran it */
    :: have < OPERATIONS(e) && !(have == 0 && TIMED(e)) ->
        k = have;
        if
        :: letters >= WANTED(e, have) -> kind = RECORD; value = LETTER + WANTED(e, have)    /* it takes the letter */
        :: letters < WANTED(e, have) && TIMED(e) && rang -> kind = RECORD; value = TIMEOUT  /* said with `seen` */
        :: letters < WANTED(e, have) && !(TIMED(e) && rang) -> kind = PARK  /* detached first: it says nothing after it */
        fi
    fi
}

inline forget() {
    e = NONE; f = 0; have = 0; seen = 0; letters = 0; k = 0; value = 0; kind = RECORD; answer = LOST;
    held[w] = NONE; under[w] = 0
}

/* A claim and its reply are one transition, and so are a commit's: what may happen between storage's doing and the worker's
 * hearing of it (a crash, a stop, the lease's end) comes to the same as if it happened a little later. */
#define CLAIMS(x) \
    UP(w) && life[w] == ALIVE && !expired[w] && due[x] == NOW -> e = x; hand_out(w, e, f, have, seen, letters)

proctype Worker(byte w) {
    byte e = NONE, f, have, seen, letters, k, value;
    mtype kind = RECORD, answer = LOST;

idle:
    atomic {
        if
        :: gone[w] -> goto end
        :: CLAIMS(0)
#if EXECUTIONS > 1
        :: CLAIMS(1)
#endif
        fi;
        if
        :: held[w] = e; under[w] = f; go_on(e, f, have, letters, kind, k, value)
        :: trouble > 0 -> trouble--; forget(); goto idle                /* rule 10: the reply is lost, the claim is not */
        fi
    }

    /* The journal has sent what the body says, and repeats it until it is answered. Until storage does it anything may happen,
     * and it does it whatever has become of the worker. */
said:
    atomic {
        if
        :: !stopped[w]
        :: gone[w] -> goto end                                          /* it was never sent */
        fi;
        if
        :: kind == PARK && owner[e] == w && fence[e] == f -> known[e] = letters
        :: else
        fi;
        commit(w, e, f, kind, k, value, seen, answer);
        answered(e, f, kind, k, value, answer);
        no_letter_lost(e); no_outcome_lost(e);
        if
        :: gone[w] -> goto end
        :: !gone[w]
        :: !gone[w] && trouble > 0 -> trouble--; answer = LOST; goto said   /* rule 10: the reply is lost, it says so again */
        :: !gone[w] && trouble > 0 && nfull(late) ->
            trouble--; late ! w, e, f, kind, k, value, seen             /* and here the first copy is the slow one */
        fi;
        if
        :: answer == LOST || kind != RECORD -> forget(); goto idle
        :: else ->
            if
            :: answer == APPLIED -> have++
            :: else
            fi;
            seen = mail[e]; letters = mail[e];                          /* rule 4: every reply brings the mail past `seen` */
            answer = LOST; k = 0; value = 0;
            go_on(e, f, have, letters, kind, k, value); goto said
        fi
    }

end:
    atomic { forget() }
}

/* ---- the heartbeat: a thread of its own; zart.heartbeat ------------------------------------------------------------------ */

/* Rule 7: declare dead whose lease has passed. */
inline declare_dead(w, o) {
    if
#ifdef EXPIRY_WITHOUT_LEASE
    :: o != w && life[o] == ALIVE ->
#else
    :: o != w && life[o] == ALIVE && expired[o] ->
#endif
        life[o] = DEAD; buried[o] = true
    :: else -> skip
    fi
}

/* Rule 7: take over what runs under a worker that is not alive, whoever declared it. */
inline take_over(e) {
    if
#ifndef NO_TAKEOVER
    :: status[e] == RUNNING && life[worker[e]] == DEAD -> take_from_worker(e)
#endif
    :: else -> skip
    fi
}

/* Rule 7: hand back what runs under the worker itself, was claimed before its last good beat, and is not in what it holds. When
 * a beat takes no time, the second says nothing. */
#if defined(SLOW_BEATS) && !defined(HAND_BACK_WHAT_IS_NEW)
#define CLAIMED_BEFORE(e) (before[e] == fence[e] + 1)
#else
#define CLAIMED_BEFORE(e) true
#endif
#ifdef SLOW_BEATS
#define RUNS(w, e) (status[e] == RUNNING && worker[e] == w -> fence[e] + 1 : 0)
#if EXECUTIONS > 1
#define TOLD_BEFORE before[0] = told[EXECUTIONS * w]; before[1] = told[EXECUTIONS * w + 1]
#define HEARD told[EXECUTIONS * w] = RUNS(w, 0); told[EXECUTIONS * w + 1] = RUNS(w, 1)
#define FORGET_BEFORE before[0] = 0; before[1] = 0
#else
#define TOLD_BEFORE before[0] = told[w]
#define HEARD told[w] = RUNS(w, 0)
#define FORGET_BEFORE before[0] = 0
#endif
#endif

inline hand_back(w, e, beat_e, beat_f) {
    if
#ifndef NO_HAND_BACK
    :: status[e] == RUNNING && worker[e] == w && !(beat_e == e && beat_f == fence[e]) && CLAIMED_BEFORE(e) ->
        check(!(held[w] == e && under[w] == fence[e]));                 /* nothing that it has heard of */
        take_from_worker(e)
#endif
    :: else
    fi
}

/* Rule 7, all of it. */
inline beat(w, beat_e, beat_f) {
    if
#ifndef BEAT_REVIVES
    :: life[w] != ALIVE -> gone[w] = true                               /* it learns so, and never comes back under this id */
#endif
    :: else ->
        life[w] = ALIVE; check(!buried[w]);
        if
        :: expired[w] -> expired[w] = false                             /* it was away: it must not expire the rest */
        :: else -> declare_dead(w, 0); declare_dead(w, 1)
#if WORKERS > 2
            ; declare_dead(w, 2)
#endif
        fi;
        take_over(0); hand_back(w, 0, beat_e, beat_f);
#if EXECUTIONS > 1
        take_over(1); hand_back(w, 1, beat_e, beat_f);
#endif
    fi
}

proctype Pulse(byte w) {
#ifdef SLOW_BEATS
    byte beat_e = NONE, beat_f;
    byte before[EXECUTIONS];
    do
    :: gone[w] -> break
    :: atomic { UP(w) ->                                                /* storage's time as it was told; what the worker holds */
        TOLD_BEFORE;
        beat_e = held[w]; beat_f = under[w] };
       atomic {
        beat(w, beat_e, beat_f);
        if
        :: true -> HEARD                                                /* storage's time, by what was claimed before it */
        :: trouble > 0 -> trouble--                                     /* the reply is lost */
        fi;
        beat_e = NONE; beat_f = 0; FORGET_BEFORE
       }
    od
#else
    do
    :: gone[w] -> break
    :: atomic { UP(w) -> beat(w, held[w], under[w]) }
    od
#endif
}

/* ---- clients ------------------------------------------------------------------------------------------------------------- */

/* Rule 5: append in order, ignore an event that is there, wake who waits. One that is finished is told to the sender. */
inline deliver(e, n) {
    if
#ifndef DUPLICATE_IS_NEW
    :: n <= mail[e] -> skip
    :: n > mail[e] ->
#else
    :: true ->
#endif
        if
        :: TERMINAL(e) -> skip
        :: else ->
            check(mail[e] == n - 1);                                    /* each event is recorded once */
            mail[e]++;
            if
#ifndef EVENT_WAKES_NOBODY
            :: status[e] == WAITING -> due[e] = NOW
#endif
            :: else -> skip
            fi
        fi
    fi
}

proctype Sender(byte e) {
    byte n = 1;
    do
    :: n <= SENT(e) ->
        d_step { deliver(e, n); no_letter_lost(e) };
        if
        :: n++
        :: atomic { trouble > 0 -> trouble-- }                          /* the reply is lost: it is sent again */
        fi
    :: n > SENT(e) -> break
    od
}

/* Rule 6: end what is not finished, raise its fence. */
inline cancel(e) {
    if
    :: TERMINAL(e) -> skip
    :: else ->
#ifndef CANCEL_KEEPS_FENCE
        fence[e]++;
#endif
#ifdef END_LEAVES_DUE
        let_go(e, CANCELLED, NOW)
#else
        let_go(e, CANCELLED, NEVER)
#endif
    fi
}

active proctype Canceller() {
    if
    :: d_step { cancel(0) }
#if EXECUTIONS > 1
    :: d_step { cancel(1) }
#endif
    :: skip                                                             /* mostly nobody cancels */
    fi
}

/* ---- time, which passes, and bad luck, which may come ---------------------------------------------------------------- */

/* The lease of one that is no more, or does not move, runs out. */
#define LEASE_ENDS(w) d_step { life[w] == ALIVE && (gone[w] || stopped[w]) && !expired[w] -> expired[w] = true }

active proctype Clock() {
    do
    :: d_step { !rang -> rang = true }
    :: d_step { rang && due[0] == LATER -> due[0] = NOW }
    :: LEASE_ENDS(0)
    :: LEASE_ENDS(1)
#if WORKERS > 2
    :: LEASE_ENDS(2)
#endif
    od
}

#define CRASHES(w) d_step { w < MORTALS && trouble > 0 && !gone[w] -> trouble--; gone[w] = true; stopped[w] = false }
#ifdef LIVENESS
#define STOPS(w) d_step { w < MORTALS && trouble > 0 && UP(w) -> trouble--; stopped[w] = true }
#define WAKES(w) d_step { stopped[w] -> stopped[w] = false }
#else                                                                   /* whoever is not scheduled has stopped already */
#define STOPS(w) false
#define WAKES(w) false
#endif
#define IS_LATE(w) d_step { w < MORTALS && trouble > 0 && life[w] == ALIVE && !expired[w] -> trouble--; expired[w] = true }

active proctype BadLuck() {
    do
    :: CRASHES(0) :: STOPS(0) :: WAKES(0) :: IS_LATE(0)
    :: CRASHES(1) :: STOPS(1) :: WAKES(1) :: IS_LATE(1)
#if WORKERS > 2
    :: CRASHES(2) :: STOPS(2) :: WAKES(2) :: IS_LATE(2)
#endif
    od
}

init {
    atomic {
        run Worker(0); run Pulse(0);
        run Worker(1); run Pulse(1);
#if WORKERS > 2
        run Worker(2); run Pulse(2);
#endif
#if EXECUTIONS > 1
        run Sender(1);
#endif
        run Sender(0)
    }
}

#ifdef LIVENESS
/* Every execution ends, as long as one worker lives. */
ltl every_execution_ends { <> (TERMINAL(0) && TERMINAL(EXECUTIONS - 1)) }
#endif
