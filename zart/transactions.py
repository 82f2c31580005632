"""A step in a transaction of the storage's own database: what its function writes and its checkpoint are one.

When the function has returned, the same transaction saves the outcome with its last statement, which takes the execution's
lock, and commits. Then one of five things is true:

- It is committed: the outcome is durable like any other, and handed over in its turn.
- It is rolled back, because the function raised, the value cannot be saved, or storage refused to commit: nothing has happened,
  and the step's policy decides.
- It is rolled back, because the process stood still for as long as it may take on SQLite: it is begun again, and that is no
  attempt. A server ends it as idle, and the step's policy decides.
- The execution belongs to somebody else by now: rolled back, and the run drops everything.
- Nobody knows, because the connection broke over it. The execution is let go; that waits for the lock which the transaction may
  still hold, and so the next claim finds the truth in the history.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from zart.calls import StepCall
from zart.codec import Codec
from zart.errors import NotSupported, PayloadTooLarge, SchedulerError, StorageUnavailable, UndeclaredType
from zart.operations import Desk
from zart.outbox import Line, Outbox
from zart.records import Commit, Fate, Token
from zart.scheduler import TRANSACTING, Bound, OpenTransaction, StoodStill
from zart.steps import StepOptions

MOST_PAUSES = 3
"""So often a step begins its transaction again after the process stood still; a function that blocks the loop looks alike."""


class Owner(Protocol):
    """The run, as far as a transaction concerns it."""

    def proceed(self) -> None:
        """Go on: something has become durable without the journal."""
        ...

    def lose(self) -> None:
        """Drop everything: the execution is somebody else's."""
        ...

    def let_go(self, reason: str) -> None:
        """Save what can be saved and let the execution be claimed again soon."""
        ...


class _Unsaveable(Exception):  # it only carries the error out of the transaction, which is rolled back by it
    def __init__(self, error: UndeclaredType | PayloadTooLarge) -> None:
        self.error = error


class _Lost(Exception):
    pass


@frozen
class Transactions:
    """How one run's steps open transactions and have their outcomes saved in them."""

    open: OpenTransaction | None
    """Opens one of the storage's own database; None where it has none."""
    owner: Owner
    outbox: Outbox
    token: Token

    async def save(self, bound: Bound, line: Line, seen: int) -> None:
        """Say an outcome within a transaction; once that has ended, `ended` must be told.

        Raises:
            StorageUnavailable: it could not be said.
        """
        self.outbox.set_apart(line)
        (answer,) = await bound.commit([Commit(self.token, [line[1]], seen)])
        if answer.fate is Fate.REFUSED:
            raise SchedulerError(answer.reason or "storage refused what was to be saved")
        if answer.fate is not Fate.APPLIED:
            raise _Lost

    def ended(self, line: Line, error: BaseException | None) -> bool:
        """Act on how a transaction has ended; return whether the error is the step's own and nothing has been saved."""
        self.outbox.rejoin(line, saved=error is None)
        match error:
            case None:
                self.owner.proceed()
            case _Lost():
                self.owner.lose()
            case _ if isinstance(error, StorageUnavailable) or not isinstance(error, Exception):
                name = line[1].name
                self.owner.let_go(f"nobody knows whether step {name!r} was committed; the next claim finds out: {error}")
            case _:
                return True
        return False


class TransactionCall(StepCall):
    """A step whose function gets a connection as its first argument."""

    attempts: int = 0
    task: asyncio.Task[None] | None = None
    _begun: bool = False
    _pauses: int = 0
    _line: Line | None = None
    """Set while the transaction has the outcome, so that it is too late to stop it."""
    _abandoned: bool = False

    def __init__(
        self,
        desk: Desk,
        transactions: Transactions,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        options: StepOptions,
        codec: Codec,
    ) -> None:
        if transactions.open is None:
            raise NotSupported("ctx.transaction needs a SQL database as storage, such as sqlite:/// or postgresql://")
        super().__init__(desk, name, fn, args, options, codec)
        self._open = transactions.open
        self._transactions = transactions

    def abandon(self) -> None:
        """Stop the function; but what is being saved is saved, or else nobody would know. There is no other attempt."""
        self._abandoned = True
        if self._line is None:
            super().abandon()

    async def carry_out(self) -> None:
        """Call the function in a transaction, and settle with what it comes to."""
        asked_in = self.context  # to settle lets go of it, and there may be another attempt
        try:
            if not self.begins():
                return
            error = await self._transact()
            line, self._line = self._line, None
            if self._abandoned:
                super().abandon()  # its task ends with it: whoever unwinds the body waits for that
            self.task = None
            if line is not None:
                if self._transactions.ended(line, error) and error is not None and not self._abandoned:
                    self.unsettle(asked_in)
                    self._rolled_back(error)
            elif self.settled or error is None:
                return
            elif not self._begun and isinstance(error, StorageUnavailable):
                self._transactions.owner.let_go(f"step {self.name!r} could not open its transaction: {error}")
            else:
                self._stop_limit()
                if isinstance(error, _Unsaveable):
                    self._settle_error(error.error)
                else:
                    self._rolled_back(error)
        except Exception as error:  # noqa: BLE001 # as for any step
            self._settle_unseen(error)

    def _rolled_back(self, error: BaseException) -> None:
        """Nothing has happened: begin again if nobody is at fault, else the policy decides."""
        if isinstance(error, StoodStill) and self._pauses < MOST_PAUSES:
            self._pauses += 1
            self.attempts -= 1  # it was none
            self._start()
        else:
            self._failed(error)

    async def _transact(self) -> BaseException | None:
        """Return what has gone wrong, if anything."""
        self._begun = False
        TRANSACTING.set(self._transactions.token.execution_id)  # in the context of this step's own task
        try:
            async with self._open() as (connection, bound):
                self._begun = True
                result = await self.fn(connection, *self.args)
                # A cancel that is pending comes now, while nothing is said: later nobody would know what has been committed.
                await asyncio.sleep(0)
                if self.settled:
                    raise asyncio.CancelledError  # too late: its time had passed, or nobody awaits it
                try:
                    payload, value = self._through(result)
                except (UndeclaredType, PayloadTooLarge) as error:
                    raise _Unsaveable(error) from error
                self._stop_limit()
                self._line = line = (self, self.desk.outcome_record(self, True, payload, value))
                await self._transactions.save(bound, line, self.desk.mailbox.seen)
        except BaseException as error:  # noqa: BLE001 # whatever it is, it is the step's failure or the engine's concern
            return error
        return None
