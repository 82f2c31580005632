"""A state machine that tells the in-memory scheduler and another backend one random story, and compares every answer.

The in-memory scheduler is the specification in code. Nothing is thrown away on the way: a token stays in play when its
execution was claimed anew, cancelled or has ended, a worker's name when it was declared dead; so each rule may draw one that
is stale, though it mostly draws one of the last. Any call may be made twice, as after a lost reply. The other backend may be
closed and opened again between any two calls. The clock moves only when a rule moves it, forward or, as by a correction, back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zart.clock import SECOND, instant
from zart.errors import SchedulerError
from zart.records import (
    Claim,
    Commit,
    Demand,
    Event,
    Held,
    Move,
    NewExecution,
    Query,
    Reuse,
    StepRecord,
    Token,
    WorkerBeat,
)
from zart.scheduler import Storage
from zart.schedulers.memory import InMemoryScheduler
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import HOSTILE

Open = Callable[[FakeClock], Awaitable[Storage]]
"""Returns the backend, made anew on what it has stored before, and not yet opened."""

IDS = ("a", "A", "b ", "\U0001f98a")
TASKS, QUEUES = ("t", "u"), ("default", "other")
LEASE = 15 * SECOND
LENGTHS = (1, SECOND, 6 * SECOND, 16 * SECOND, 100 * SECOND)

ids, tasks, queues = map(st.sampled_from, (IDS, TASKS, QUEUES))
last = st.just(0) | st.just(0) | st.integers(0, 9) | st.integers(0, 9)
"""How far back to look for a worker or a claim; counted round when there are fewer."""
runs = st.sampled_from((None, None, None, 1, 2, 3))
texts = st.sampled_from([text for text in HOSTILE if len(text) < 1000]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)
lengths = st.sampled_from((None, 0, 0, *LENGTHS))
twice = st.sampled_from((False, False, True))
phases = st.sampled_from((Phase.OUTCOME, *Phase))
letters = st.sampled_from((None, "before", "after"))
"""Whether a letter comes to the same execution right before or after."""
STATUSES = [status for status in ExecutionStatus if status is not ExecutionStatus.RUNNING]
MOVES = [status for status in STATUSES if status is not ExecutionStatus.CANCELLED]


@frozen
class Grip:
    """A claim as both storages gave it: alike but for the key, which is each one's own."""

    expected: Claim
    found: Claim


class Machine(RuleBasedStateMachine):
    """One story."""

    def __init__(self, reopen: Open) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.memory = InMemoryScheduler(clock=self.clock)
        self._reopen = reopen
        self._keys = 0
        self.workers: list[str] = []
        self.grips: list[Grip] = []
        self.other = self.runner.run(self._open())

    def teardown(self) -> None:
        try:
            self.everything_stored_is_alike()
        finally:
            self.runner.run(self.other.__aexit__(None, None, None))
            self.runner.close()

    async def _open(self) -> Storage:
        storage = await self._reopen(self.clock)
        await storage.__aenter__()
        await storage.migrate()
        return storage

    @property
    def now(self) -> int:
        return instant(self.clock.now())

    def both(self, act: Callable[[Storage], Awaitable[Any]], other: Callable[[Storage], Awaitable[Any]] | None = None) -> Any:
        """Do the same to both, and return the two answers when they are alike."""

        async def answer(storage: Storage, call: Callable[[Storage], Awaitable[Any]]) -> Any:
            try:
                return await call(storage)
            except SchedulerError as error:
                return type(error)

        expected = self.runner.run(answer(self.memory, act))
        found = self.runner.run(answer(self.other, other or act))
        assert plain(found) == plain(expected), "\n".join(differences(plain(expected), plain(found)))
        return expected, found

    def said(self, again: bool, act: Callable[[Storage], Awaitable[Any]], other: Any = None) -> Any:
        """Do it, and once more if the reply was lost."""
        if again:
            self.both(act, other)
        return self.both(act, other)

    # ---- rules ------------------------------------------------------------------------------------------------------

    @initialize()
    def some_workers_live(self) -> None:
        self.join(in_time=False)
        self.join(in_time=False)
        for number, id_ in enumerate(IDS):
            self.tick()
            new = NewExecution(id_, TASKS[number % 2], "first", f"first {number}")
            self.both(lambda storage, new=new: storage.start([new]))
        self.take(Demand(self.workers[-1], QUEUES, dict.fromkeys(TASKS), 3, 10))

    def join(self, *, in_time: bool) -> None:
        self.workers.append(f"worker {len(self.workers)}")
        self._beat(0, [], again=False, register=True, in_time=in_time)

    @rule(id_=ids, task=tasks, queue=queues, payload=texts, reuse=st.sampled_from(Reuse), delay=lengths, again=twice, old=twice)
    def start(
        self, id_: str, task: str, queue: str, payload: str, reuse: Reuse, delay: int | None, again: bool, old: bool
    ) -> None:
        self._keys += not old
        trace = None if self._keys % 3 else f"trace {self._keys}"
        new = NewExecution(id_, task, payload, f"key {self._keys}", queue, reuse, delay, trace=trace)
        self.tick()
        self.said(again, lambda storage: storage.start([new]))

    @rule(given=st.lists(st.tuples(ids, tasks, st.integers(-20, 20)), min_size=2, max_size=4))
    def start_many(self, given: list[tuple[str, str, int]]) -> None:
        self._keys += 1
        at = self.now
        many = [
            NewExecution(
                *(id_, task, "many", f"key {self._keys} {number}"),
                at=at + seconds * SECOND + number,
                trace=f"trace {number}" if number % 2 else None,
            )
            for number, (id_, task, seconds) in enumerate(given)
        ]
        self.both(lambda storage: storage.start(many))

    @rule(
        back=last,
        worker=st.sampled_from(("new", "new", "old", "late")),
        limit=st.sampled_from((0, 1, 2, 10, 10, 10)),
        suspects=st.sampled_from((0, 1, 10, 10, 10)),
        asked=st.sampled_from((TASKS, TASKS, TASKS[:1])),
        where=st.sampled_from((QUEUES, QUEUES, QUEUES[:1])),
        length=lengths,
    )
    def claim(self, back: int, worker: str, limit: int, suspects: int, asked: Any, where: Any, length: int | None) -> None:
        self.tick()
        if worker == "new":
            self.join(in_time=True)
        elif worker == "late":
            self.clock.advance(timedelta(microseconds=LEASE))
        self.take(Demand(self.pick(self.workers, back), where, dict.fromkeys(asked, length), limit, suspects))

    @precondition(lambda self: self.grips)
    @rule()
    def change_hands(self) -> None:
        """Let what the last worker holds be handed back and claimed by the next: its tokens are stale, and others run."""
        self.tick()
        self._beat(0, [], again=False, held_since=0)
        self.join(in_time=True)
        self.tick()
        self.take(Demand(self.workers[-1], QUEUES, dict.fromkeys(TASKS), 10, 10))

    def take(self, demand: Demand) -> None:
        if self.has_ties():  # which of them comes first is each storage's own business
            demand = evolve(demand, limit=100, suspects=100)
            expected, found = self.both(lambda storage: in_id_order(storage, demand))
        else:
            expected, found = self.both(lambda storage: storage.claim(demand))
        if not isinstance(expected, type):
            self.grips += map(Grip, expected, found)

    @precondition(lambda self: self.grips)
    @rule(
        back=last,
        steps=st.lists(st.tuples(st.integers(1, 6), phases, texts, st.booleans(), lengths), max_size=3),
        looks=st.sampled_from((None, "old", "old", "new")),
        again=twice,
        letter=letters,
    )
    def save(self, back: int, steps: list[Any], looks: str | None, again: bool, letter: str | None) -> None:
        grip = self.pick(self.grips, back)
        self._commit(grip, steps, None, looks, again, letter)

    @precondition(lambda self: self.grips)
    @rule(
        back=last,
        steps=st.lists(st.tuples(st.integers(1, 9), phases, texts, st.booleans(), lengths), max_size=2),
        status=st.sampled_from(MOVES),
        due=lengths,
        payload=st.none() | texts,
        attempt=st.sampled_from((None, None, 1, 7)),
        deadline=st.sampled_from((None, None, SECOND, 20 * SECOND)),
        reason=st.none() | texts,
        looks=st.sampled_from((None, "old", "new")),
        again=twice,
        letter=letters,
    )
    def let_go(
        self,
        back: int,
        steps: list[Any],
        status: ExecutionStatus,
        due: int | None,
        payload: str | None,
        attempt: int | None,
        deadline: int | None,
        reason: str | None,
        looks: str | None,
        again: bool,
        letter: str | None,
    ) -> None:
        self.tick()
        grip = self.pick(self.grips, back)
        move = Move(
            status,
            None if due is None or status.is_terminal else self.now + due,
            self._seen(grip, looks),
            payload if status.is_terminal else None,
            attempt,
            None if deadline is None else self.now + deadline,
            reason,
        )
        self._commit(grip, steps, move, None, again, letter)

    def _commit(
        self, grip: Grip, steps: list[Any], move: Move | None, looks: str | None, again: bool, letter: str | None
    ) -> None:
        if letter == "before":
            self._send(grip)
        now = self.now
        records = [
            StepRecord(
                seq,
                f"step {seq}",
                StepKind.EVENT if looks else StepKind.STEP,
                phase,
                ok,
                payload,
                seq,
                None if due is None else now + due,
                started_at=now,
                at=now,
                seen=self._seen(grip, looks) if phase is Phase.OUTCOME else None,
            )
            for seq, phase, payload, ok, due in {step[0]: step for step in steps}.values()
        ]

        def commit(token: Token) -> Callable[[Storage], Awaitable[Any]]:
            said = Commit(token, records, grip.expected.seen, move)
            return lambda storage: storage.commit([evolve(said, steps=[evolve(step) for step in records])])

        self.said(again, commit(grip.expected.token), commit(grip.found.token))
        if letter == "after":
            self._send(grip)

    def _send(self, grip: Grip) -> None:
        self.tick()
        self._keys += 1
        event = Event(grip.expected.token.execution_id, "go", "in between", f"letter {self._keys}")
        self.both(lambda storage: storage.deliver([event]))

    def _seen(self, grip: Grip, looks: str | None) -> int | None:
        if looks is None:
            return None
        if looks == "old":
            return grip.expected.seen
        stored = self.runner.run(self.memory.get(grip.expected.token.execution_id, grip.expected.token.run))
        return 0 if stored is None else stored.mail

    @precondition(lambda self: self.grips)
    @rule(backs=st.lists(last, min_size=2, max_size=4))
    def save_together(self, backs: list[int]) -> None:
        chosen = self.pick_some(self.grips, backs)
        step = StepRecord(20, "together", StepKind.STEP, Phase.OUTCOME, payload="together", at=self.now)

        def commit(tokens: list[Token]) -> Callable[[Storage], Awaitable[Any]]:
            return lambda storage: storage.commit([Commit(token, [evolve(step)], 0) for token in tokens])

        self.both(commit([grip.expected.token for grip in chosen]), commit([grip.found.token for grip in chosen]))

    @rule(
        given=st.lists(st.tuples(ids, runs, st.sampled_from(("go", "Go")), st.integers(1, 6), texts), min_size=1, max_size=3),
        again=twice,
    )
    def deliver(self, given: list[tuple[str, int | None, str, int, str]], again: bool) -> None:
        self.tick()
        events = [Event(id_, name, payload, f"event {number}", run) for id_, run, name, number, payload in given]
        self.said(again, lambda storage: storage.deliver(events))

    @rule(chosen=st.lists(ids, min_size=1, max_size=2), run=runs, again=twice)
    def cancel(self, chosen: list[str], run: int | None, again: bool) -> None:
        self.tick()
        self.said(again, lambda storage: storage.cancel(chosen, run))

    @rule(
        back=last,
        held=st.lists(last, max_size=3),
        sign=st.sampled_from(("renew", "renew", "renew late", "register", "leave")),
        held_since=st.sampled_from((None, None, 0, SECOND, 20 * SECOND)),
        again=twice,
    )
    def beat(self, back: int, held: list[int], sign: str, held_since: int | None, again: bool) -> None:
        self.tick()
        options = {"register": sign == "register", "in_time": sign != "renew late", "leaving": sign == "leave"}
        self._beat(back, self.pick_some(self.grips, held), again, held_since=held_since, **options)

    def _beat(self, back: int, grips: list[Grip], again: bool, *, held_since: int | None = None, **options: bool) -> None:
        sign = WorkerBeat(self.pick(self.workers, back), LEASE, QUEUES, TASKS, **options)
        if held_since is not None:
            sign = evolve(sign, held_at=self.now - held_since)

        # What this very beat takes away, from whomever, it may report itself or leave to the next.
        stored = [self.runner.run(self.memory.get(grip.expected.token.execution_id)) for grip in grips]
        held_still = [
            one is not None and one.fence == grip.expected.token.fence for one, grip in zip(stored, grips, strict=True)
        ]
        open_ = {grip.expected.token.execution_id for grip, still in zip(grips, held_still, strict=True) if still}

        def beat(name: str) -> Callable[[Storage], Awaitable[Any]]:
            claims = [getattr(grip, name) for grip in grips]
            held = tuple(Held(claim.token, claim.seen) for claim in claims)
            by_key = {claim.token.key: claim.token.execution_id for claim in claims}
            fences = {claim.token.execution_id: claim.token.fence for claim in claims}

            async def call(storage: Storage) -> Any:
                reply = await storage.beat(evolve(sign, held=held))
                left = {token.execution_id for token in reply.lost} & open_
                after = {id_ for id_ in open_ - left if await _fence(storage, id_) != fences[id_]}
                mail = [(by_key[key], plain(list(letters))) for key, letters in reply.mail.items() if by_key[key] not in after]
                lost = [(token.execution_id, token.run, token.fence) for token in reply.lost if token.execution_id not in left]
                return reply.alive, reply.now, sorted(lost), sorted(mail), reply.taken_over

            return call

        self.said(again, beat("expected"), beat("found"))

    @rule(length=st.sampled_from((*LENGTHS[:3], *LENGTHS)), jumps=st.sampled_from((0, 0, 0, 0, 0, -1, 1, -20, 20, -3600, 3600)))
    def time_passes(self, length: int, jumps: int) -> None:
        self.clock.advance(timedelta(microseconds=length))
        self.clock.jump(timedelta(seconds=jumps))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.other.__aexit__(None, None, None))
        self.other = self.runner.run(self._open())

    @rule(
        statuses=st.sampled_from(((), (ExecutionStatus.PENDING,), (ExecutionStatus.RUNNING, ExecutionStatus.WAITING))),
        asked=st.sampled_from(((), TASKS[:1])),
        limit=st.integers(1, 3),
        offset=st.integers(0, 2),
        after=st.none() | ids,
        descending=st.booleans(),
    )
    def find(self, statuses: Any, asked: Any, limit: int, offset: int, after: str | None, descending: bool) -> None:
        query = Query(statuses, asked, limit, offset, after, descending)
        self.both(lambda storage: storage.find(query))
        self.both(lambda storage: storage.count(query))

    # ---- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def current_runs_are_alike(self) -> None:
        self.both(lambda storage: storage.find(Query()))

    def everything_stored_is_alike(self) -> None:
        for id_ in IDS:
            for run in (None, 1, 2, 3):
                self.both(lambda storage, id_=id_, run=run: storage.get(id_, run))
                self.both(lambda storage, id_=id_, run=run: storage.history(id_, run))

    # ---- inside -----------------------------------------------------------------------------------------------------

    def pick(self, among: list[Any], back: int) -> Any:
        """Return one of the last, or one that may have had its day."""
        return among[-1 - back % len(among)]

    def pick_some(self, among: list[Grip], backs: list[int]) -> list[Grip]:
        """Return some, no two for one execution."""
        chosen = [self.pick(among, back) for back in backs] if among else []
        return list({grip.expected.token.execution_id: grip for grip in chosen}.values())

    def tick(self) -> None:
        """Let a moment pass, so that what one call makes due comes after what an earlier one did."""
        self.clock.advance(timedelta(microseconds=1))

    def has_ties(self) -> bool:
        page = self.runner.run(self.memory.find(Query()))
        due = [execution.due_at for execution in page.executions if execution.due_at is not None]
        return len(set(due)) < len(due)


async def _fence(storage: Storage, execution_id: str) -> int:
    stored = await storage.get(execution_id)
    return 0 if stored is None else stored.fence


async def in_id_order(storage: Storage, demand: Demand) -> list[Claim]:
    return sorted(await storage.claim(demand), key=lambda claim: claim.token.execution_id)


def plain(answer: Any) -> Any:
    """Return an answer without what is each storage's own: the keys of tokens, and the kinds of its collections."""
    match answer:
        case Claim():
            told = evolve(answer, token=evolve(answer.token, key=0), steps=(), mail=())
            return told, plain(answer.steps), plain(answer.mail)
        case list() | tuple():
            return [plain(each) for each in answer]
        case dict():
            return {key: plain(value) for key, value in answer.items()}
        case _ if hasattr(answer, "__attrs_attrs__") and any(
            isinstance(getattr(answer, field.name), list | tuple) for field in answer.__attrs_attrs__
        ):
            return [type(answer), *(plain(getattr(answer, field.name)) for field in answer.__attrs_attrs__)]
        case _:
            return answer


def differences(expected: Any, found: Any) -> list[str]:
    """Return what differs, as deep down as can be told."""
    if expected == found:
        return []
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [line for pair in zip(expected, found, strict=True) for line in differences(*pair)]
    fields = getattr(expected, "__attrs_attrs__", ())
    if fields and type(expected) is type(found):
        pairs = [(field.name, getattr(expected, field.name), getattr(found, field.name)) for field in fields]
        return [f"{expected!r}: {name} is {one!r} in memory and {other!r} here" for name, one, other in pairs if one != other]
    return [f"{expected!r} in memory and {found!r} here"]
