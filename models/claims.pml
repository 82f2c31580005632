/*
 * Claim, lease, park and finish: the protocol between Zart's workers and a storage, as zart/scheduler.py states it and
 * zart/schedulers/memory.py spells it out. Each transition names the rule that it stands for. Statements of storage are
 * d_steps, because every operation is atomic there; whatever a worker does between two of them may be overtaken by anybody.
 *
 * Two executions. The first one's body is a step and a wait with a time limit, the second one's two waits. WORKERS identities:
 * one that comes back after it was declared dead is another identity. Bad luck is bounded by TROUBLE: requests that storage
 * carries out and whose replies get lost, commits that arrive a second time and late, processes that crash, or stop and wake,
 * leases that run out under a living worker. What must happen in the end (timers, leases of the dead) costs nothing.
 *
 * What is asserted is said where it is asserted, and twice over: by ghosts, which no transition looks at.
 * A mutant is one rule broken by `-D NAME`; `python -m models` knows them all and sees each refuted.
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef TROUBLE
#define TROUBLE 2
#endif
#define EXECUTIONS 2
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
mtype = { UNKNOWN, ALIVE, DEAD };                                       /* zart.schedulers.ledger.Life */
mtype = { RECORD, PARK, FINISH };                                       /* what a commit says */
mtype = { APPLIED, WITHHELD, LOST };                                    /* what becomes of it */

/* ---- what storage holds ---------------------------------------------------------------------------------------------- */

mtype status[EXECUTIONS] = PENDING;
mtype due[EXECUTIONS] = NOW;
byte fence[EXECUTIONS];
byte worker[EXECUTIONS] = NONE;
byte mail[EXECUTIONS];                                                  /* how many letters; they are numbered from 1 */
byte records[4];                                                        /* two of each execution, 0: not there */
bool rang[EXECUTIONS];                                                  /* the time limit of its wait has passed */
mtype life[WORKERS] = UNKNOWN;
bool expired[WORKERS];                                                  /* its lease has passed by storage's clock */

#define AT(e, k) records[2 * (e) + (k)]
#define TERMINAL(e) (status[e] == COMPLETED || status[e] == CANCELLED)
#define TIMEOUT 100                                                     /* an outcome: the wait timed out */
#define LETTER 200                                                      /* an outcome: LETTER + n, the nth letter was taken */
#define SENT(e) ((e) + 1)                                               /* how many letters its senders send */

/* ---- the rest of the world ------------------------------------------------------------------------------------------- */

byte trouble = TROUBLE;
bool gone[WORKERS];                                                     /* crashed, or told that it is dead */
bool stopped[WORKERS];                                                  /* by SIGSTOP, a suspended laptop, a long pause */
byte held[WORKERS] = NONE;                                              /* the execution that it runs ... */
byte under[WORKERS];                                                    /* ... and under which fence; 0: a claim is in flight */
byte told[WORKERS * EXECUTIONS];                                        /* claims of before its last good beat, by fence */

#define UP(w) (!gone[w] && !stopped[w])

/* ---- ghosts: only assertions look at them ------------------------------------------------------------------------------ */

byte owner[EXECUTIONS] = NONE;                                          /* who has it by its last claim, until it is taken away */
byte accepted[EXECUTIONS];                                              /* fence of the last commit that was applied */
byte durable[4];                                                        /* outcomes that a worker was told are saved */
byte finisher[EXECUTIONS];                                              /* fence of the commit that finished it */
byte known[EXECUTIONS];                                                 /* letters that the body had when it was parked */

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
#ifdef LAST_WRITE_WINS
                :: true -> AT(e, k) = value
#else
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
#endif
                fi
#ifndef PARK_IGNORES_MAIL
            :: kind == PARK && mail[e] > seen -> let_go(e, PENDING, NOW) /* rule 4: due now instead of parked */
            :: kind == PARK && mail[e] <= seen ->
#else
            :: kind == PARK ->
#endif
                let_go(e, WAITING, (e == 0 -> LATER : NEVER))           /* rule 3: a move ends the worker's hold */
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

proctype Worker(byte w) {
    byte e = NONE, f, have, seen, letters, k, value;
    mtype kind, answer;

    d_step { life[w] = ALIVE }                                          /* rule 7: the first beat registers it */

idle:
    d_step { e = NONE; f = 0; have = 0; seen = 0; letters = 0; k = 0; value = 0; kind = RECORD; answer = LOST;
             held[w] = NONE; under[w] = 0 }
    if
    :: gone[w] -> goto end
    :: atomic { UP(w) -> held[w] = EXECUTIONS }                         /* a claim is on its way */
    fi;

    /* Rule 2: claim what is due, if this worker is alive and its lease has not passed. Storage does it even if the worker
     * has crashed or stopped meanwhile. */
    if
    :: d_step { life[w] != ALIVE || expired[w] -> held[w] = NONE }      /* WorkerNotAlive */
    :: d_step {
        life[w] == ALIVE && !expired[w] && due[0] == NOW -> e = 0; goto_claim(w, e, f, have, seen, letters) }
    :: d_step {
        life[w] == ALIVE && !expired[w] && due[1] == NOW -> e = 1; goto_claim(w, e, f, have, seen, letters) }
    :: gone[w] -> goto end
    fi;
    if
    :: e == NONE -> goto idle
    :: else
    fi;
    if
    :: true
    :: atomic { trouble > 0 -> trouble-- } ; goto idle                  /* rule 10: the reply is lost, the claim is not */
    fi;
    d_step { held[w] = e; under[w] = f }

    /* The body: what is saved is handed back, then the next operation. */
body:
    if
    :: gone[w] -> goto end
    :: UP(w) -> skip
    fi;
    d_step {
        if
        :: have == 2 -> kind = FINISH
        :: have < 2 && e == 0 && have == 0 -> kind = RECORD; k = 0; value = f       /* a step: its value is who ran it */
        :: have < 2 && !(e == 0 && have == 0) ->
            if
            :: letters >= (e == 0 -> 1 : have + 1) ->
                kind = RECORD; k = have; value = LETTER + (e == 0 -> 1 : have + 1)  /* a letter is there: take it */
            :: letters < (e == 0 -> 1 : have + 1) && e == 0 && rang[0] ->
                kind = RECORD; k = have; value = TIMEOUT                /* with `seen` */
            :: letters < (e == 0 -> 1 : have + 1) && !(e == 0 && rang[0]) ->
                kind = PARK                                             /* detached first: the body says nothing after it */
            fi
        fi
    }

    /* The journal: the same commit until it is answered. */
say:
    d_step {
        if
        :: kind == PARK && owner[e] == w && fence[e] == f -> known[e] = letters
        :: else -> skip
        fi;
        commit(w, e, f, kind, k, value, seen, answer);
        answered(e, f, kind, k, value, answer);
        no_letter_lost(e); no_outcome_lost(e)
    }
    if
    :: UP(w) ->
        if
        :: true
        :: atomic { trouble > 0 -> trouble-- } ; goto say               /* rule 10: the reply is lost */
        :: atomic { trouble > 0 && nfull(late) -> trouble--; late ! w, e, f, kind, k, value, seen }
        fi
    :: gone[w] -> goto end
    fi;
    if
    :: answer == LOST || kind != RECORD -> goto idle
    :: else ->
        d_step {
            if
            :: answer == APPLIED -> have++
            :: else -> skip
            fi;
            seen = mail[e]; letters = mail[e];                          /* rule 4: every reply brings the mail past `seen` */
            answer = LOST
        }
        goto body
    fi;

end:
    d_step { e = NONE; f = 0; have = 0; seen = 0; letters = 0; k = 0; value = 0; kind = RECORD; answer = LOST;
             held[w] = NONE; under[w] = 0 }
}
