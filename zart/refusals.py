"""What a run says instead of what storage has refused: a record, or the last word.

Storage says of a whole commit that it cannot hold it, so the outbox says it again in parts until what is refused stands alone.
Then only that is replaced, under the same number, so that all turns stay where they are:

- An outcome becomes the final failure of its operation. Its effect has happened; it must never be called again.
- A failed attempt keeps its time and its count, and loses the error's own words.
- That an operation has begun: a step goes on, for it says so only to be found; a wait fails, for its deadline would be lost.
- The last word: see `zart.ending.instead`.

What is refused a second time is left out, and the execution is set aside unless it is ending anyway: that is the last resort.
"""

import logging

from attrs import define, evolve, field

from zart.errors import StepFailed
from zart.operations import Operation
from zart.outbox import Line, Outbox
from zart.outcome import REFUSED, error_through
from zart.outcome.wording import one_line
from zart.records import Claim, Commit, Committed, StepRecord
from zart.stage import Stage
from zart.status import Phase, StepKind

logger: logging.Logger = logging.getLogger("zart.run")

_LONGEST_REASON = 500


def why(answer: Committed) -> str:
    """Return the reason for a refusal as text that any storage can hold."""
    said = one_line(answer.reason or "storage refused what was to be saved")
    return said if len(said) <= _LONGEST_REASON else said[: _LONGEST_REASON - 1] + "…"


@define(eq=False)
class Refusals:
    """What has become of one run's refused records."""

    _claim: Claim
    _stage: Stage
    _outbox: Outbox
    _replaced: set[int] = field(factory=set)

    def settle(self, commit: Commit, lines: list[Line], reason: str) -> bool:
        """Have the rest of a refused commit saved, and something else in place of the one record that was refused.

        False if that is not enough: the last word was refused, or a record for the second time.
        """
        if self._outbox.divide(lines, commit.move):
            return True
        if commit.move is not None:
            return False
        ((operation, record),) = lines
        what = f"{record.kind} {record.name!r}: {record.phase}"
        execution_id = self._claim.token.execution_id
        logger.error("execution %s: storage refused a record, %s: %s", execution_id, what, reason, extra=self._claim.tags)
        again = record.seq in self._replaced
        if again and self._outbox.move is None:
            return False
        self._replaced.add(record.seq)
        other = None if operation is None or again else self._instead(operation, record, reason)
        if other is None:
            self._outbox.send_rest()
        else:
            self._outbox.put_first((operation, other))
        return True

    def _instead(self, operation: Operation, record: StepRecord, reason: str) -> StepRecord | None:
        payload, failed = error_through(StepFailed(operation.name, REFUSED, reason), (), operation.name)
        match record.phase:
            case Phase.OUTCOME:
                mail, operation.mail = operation.mail, None
                operation.ok, operation.value = False, failed
                if mail is not None:
                    self._stage.give_back(mail)
                return evolve(record, ok=False, payload=payload, mail=None)
            case Phase.ATTEMPT:
                return evolve(record, payload=payload)
            case _ if operation.kind is StepKind.STEP or operation.settled:
                return None
        outcome = self._stage.outcome_record(operation, False, payload, failed)
        outcome.seq = record.seq
        return outcome
