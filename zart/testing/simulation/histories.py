"""What must be true of the whole history when everything has ended.

* I1, I2: what is stored now is what the witness saw being stored.
* I5: every letter that was acknowledged lies in the mailbox, once, in the order of sending.
* I7: whoever reads a result after the end reads the same.
* I8: one start key, one run; what was acknowledged is there.
* I9: a completed execution returns what its body was handed, and that is what was saved, in the order in which it was saved.
* I11: what was acknowledged as cancelled is cancelled.
* I12: an execution that kills its workers stops at the limit, and no other is blamed without cause.
* I13: (calm runs) everything happens once, in time, and the storage is asked no more than needed.
"""

from collections import Counter
from collections.abc import Iterable

from zart.clock import SECOND
from zart.codec import ANY
from zart.schedulers.due import Run
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.simulation.customers import Customer
from zart.testing.simulation.program import words
from zart.testing.simulation.store import WatchedScheduler
from zart.testing.simulation.trace import Trace
from zart.testing.simulation.weather import Weather
from zart.testing.simulation.witness import Picture, Witness, saved_value

_PUNCTUAL = 0.5
"""Virtual seconds beyond the polling interval by which a timer may be late when all is well."""
_EXPECTED = (
    "OutOfStock",
    "StepFailed",
    "RetryExhausted",
    "StepTimedOut",
    "EventTimeout",
    "DeadlineExceeded",
    "RetriesExhausted",
)


def check_histories(
    storage: WatchedScheduler, witness: Witness, customers: Iterable[Customer], weather: Weather, trace: Trace
) -> Counter[str]:
    """Check everything but what only calm runs promise; return how many executions ended how."""
    for run in storage.stored_runs():
        picture = witness.picture(run.id, run.run)
        witness.compare(picture, run)
        _check_end(run, picture, weather, trace)
    for customer in customers:
        for key, runs in customer.keys.items():
            if len(runs) != 1:
                trace.violated("I8", f"the start with key {key} was told to be {sorted(runs)}")
        for order in customer.orders:
            stored = storage.stored(order.id, order.run)
            if stored is None:
                trace.violated("I8", f"{order.id}/{order.run} was acknowledged and is not there")
                continue
            letters = [event_id for event_id in stored.mail if event_id in set(order.sent)]
            if letters != order.sent:
                trace.violated("I5", f"{order.id}/{order.run} was sent {order.sent}, its mailbox holds {letters}")
            if [mail.seq for mail in stored.mail.values()] != list(range(1, len(stored.mail) + 1)):
                trace.violated("I5", f"the mailbox of {order.id}/{order.run} is out of order")
            if len({mail.payload for mail in stored.mail.values()}) != len(stored.mail):
                trace.violated("I5", f"a letter to {order.id}/{order.run} was put into its mailbox twice")
            if order.cancelled and stored.status is not ExecutionStatus.CANCELLED:
                trace.violated("I11", f"{order.id}/{order.run} was acknowledged as cancelled and is {stored.status}")
            if any(read != (str(stored.status), stored.result) for read in order.reads):
                trace.violated("I7", f"{order.id}/{order.run} was read as {order.reads}")
    return Counter(f"{run.task} {run.status}" for run in storage.stored_runs())


def _check_end(run: Run, picture: Picture, weather: Weather, trace: Trace) -> None:
    if run.status is ExecutionStatus.COMPLETED:
        if run.task == "poison":
            trace.violated("I12", f"{run.id} is poison and has completed")
        else:
            _check_result(run, picture, trace)
    if run.status is not ExecutionStatus.FAILED:
        return
    failure = str(run.result)
    if "crash loop" in failure:
        if picture.crashes < weather.config.max_crashes:
            trace.violated("I12", f"{run.id} failed as a crash loop after {picture.crashes} crashes")
    elif not any(name in failure for name in _EXPECTED):
        trace.violated("I9", f"{run.id} failed without a cause: {failure[:300]}")


def _check_result(run: Run, picture: Picture, trace: Trace) -> None:
    letters = list(run.mail.values())
    places: list[int] = []
    for name, value, in_turn in ANY.decode(run.result or "[]"):
        record = picture.outcomes.get(name)
        if record is None:
            trace.violated("I9", f"{run.id} returns {name}, of which nothing is saved")
            continue
        saved = saved_value(record, letters)
        saved = words(saved) if isinstance(saved, BaseException) else saved
        if repr(value) != repr(saved) and str(value) != str(saved):
            trace.violated("I9", f"{run.id} returns {value!r} for {name}; {saved!r} is saved")
        if in_turn:
            places.append(record.seq)
    if places != sorted(places):
        trace.violated("I9", f"{run.id} was handed its outcomes in another order than they were saved: {places}")


def check_calm(
    storage: WatchedScheduler, witness: Witness, customers: Iterable[Customer], weather: Weather, trace: Trace
) -> None:
    """Check what only a run without faults promises."""
    limit = round((weather.config.poll_interval.total_seconds() * 1.25 + _PUNCTUAL) * SECOND)
    said = 0
    for run in storage.stored_runs():
        picture = witness.picture(run.id, run.run)
        if picture.crashes or run.crashes:
            trace.violated("I13", f"{run.id} was taken over {picture.crashes} times although nothing went wrong")
        if picture.lateness > limit:
            trace.violated("I13", f"a timer of {run.id} was {picture.lateness / SECOND:.2f} s late")
        begun_again = sum(record.kind is StepKind.BODY for record in run.steps.values())
        for name, calls in picture.starts.items():
            ends = sum(record.name == name and record.attempts > 0 for record in run.steps.values())
            abandoned = 1 + begun_again if begun_again or name not in picture.ever else 0
            if calls > ends + abandoned:
                trace.violated("I13", f"step {name} of {run.id} was called {calls} times for {ends} ends")
        parks = sum(record.kind is not StepKind.STEP or record.phase is Phase.ATTEMPT for record in run.steps.values())
        if len(picture.claims) > 2 + parks + len(run.mail):
            trace.violated("I13", f"{run.id} was claimed {len(picture.claims)} times")
        said += len(run.steps) + len(picture.moved)
    if trace.hits["commit"] > said:
        trace.violated("I13", f"{trace.hits['commit']} commits said {said} things")
    if not all(customer.done for customer in customers):
        trace.violated("I13", "a client has not done its errands")
