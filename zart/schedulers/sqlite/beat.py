"""Workers' signs of life in SQLite, and taking over from the dead (rule 7)."""

from attrs import define

from zart.clock import SECOND, Micros
from zart.records import BeatReply, Mail, Token, WorkerBeat
from zart.scheduler import DEADLINE_GRACE, TAKEOVER
from zart.schedulers.sqlite.claim import mail_past
from zart.schedulers.sqlite.deliver import tell
from zart.schedulers.sqlite.queries import from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job

_SQL = statements("beat")
_MAIL = statements("commit")["mail"].sql

_KEPT: Micros = 24 * 3600 * SECOND
"""How long a worker that has ended stays on record."""


@define
class Beat(Job[BeatReply]):
    """Register, renew or say goodbye; then take over from the dead."""

    beat: WorkerBeat

    def work(self, batch: Batch) -> BeatReply:
        """Do all of it in one transaction."""
        beat, now = self.beat, batch.now
        row = batch.connection.execute(_SQL["worker"].sql, {"worker": beat.worker}).fetchone()
        state, listed, lease_until = (None, "[]", None) if row is None else row
        if beat.leaving:
            if state == "alive":
                self._leave(batch)
            return BeatReply(alive=state in {"alive", "left"}, now=now)
        if state is None and beat.register:
            about = {
                "worker": beat.worker,
                "now": now,
                "lease": beat.lease,
                "queues": to_json(beat.queues),
                "about": beat.about,
            }
            batch.connection.execute(_SQL["register"].sql, about)
            batch.connection.execute(_SQL["forget_workers"].sql, {"before": now - _KEPT})
        elif state != "alive":
            return BeatReply(alive=False, now=now)
        self._renew(batch, listed)
        # It may have been on its way for as long as storage could not be reached by anybody.
        if beat.in_time and (lease_until is None or now < lease_until):
            batch.connection.execute(_SQL["declare_dead"].sql, {"now": now})
        taken_over = self._take_over(batch)
        held = to_json([(each.token.key, each.token.fence, each.seen) for each in beat.held])
        self._hand_back(batch, held)
        lost, mail = self._held(batch, held)
        return BeatReply(alive=True, now=now, lost=lost, mail=mail, taken_over=taken_over)

    def _leave(self, batch: Batch) -> None:
        batch.connection.execute(_SQL["leave"].sql, {"worker": self.beat.worker, "now": batch.now})
        if batch.connection.execute(_SQL["hand_back"].sql, {"worker": self.beat.worker, "now": batch.now}).rowcount:
            batch.due.append((batch.now, None, None))

    def _renew(self, batch: Batch, listed: str) -> None:
        beat, tasks = self.beat, to_json(self.beat.tasks)
        renewed = {"worker": beat.worker, "now": batch.now, "lease": beat.lease, "queues": to_json(beat.queues), "tasks": tasks}
        batch.connection.execute(_SQL["renew"].sql, renewed | {"about": beat.about})
        if tasks != listed:
            batch.connection.execute(_SQL["forget_tasks"].sql, {"worker": beat.worker})
            batch.connection.execute(_SQL["list_tasks"].sql, {"worker": beat.worker, "tasks": tasks})

    @staticmethod
    def _take_over(batch: Batch) -> int:
        """Take over one batch; return how many of it were held by dead workers."""
        limits = {"overdue": batch.now - DEADLINE_GRACE, "most": TAKEOVER}
        doomed = from_json(batch.json(_SQL["doomed"].sql, limits))
        if not doomed:
            return 0
        blamed = to_json([(key, blamed) for key, _, _, blamed in doomed])
        batch.connection.execute(_SQL["take_over"].sql, {"doomed": blamed, "now": batch.now})
        tell(batch, {worker for _, worker, _, _ in doomed})
        batch.due.append((batch.now, None, None))
        return sum(dead for _, _, dead, _ in doomed)

    def _hand_back(self, batch: Batch, held: str) -> None:
        """Hand back one batch of what the worker was given without ever hearing of it."""
        beat = self.beat
        if beat.held_at is None:
            return
        known = {"worker": beat.worker, "held_at": beat.held_at, "held": held, "most": TAKEOVER, "now": batch.now}
        if batch.connection.execute(_SQL["unheard"].sql, known).rowcount:
            batch.due.append((batch.now, None, None))

    def _held(self, batch: Batch, asked: str) -> tuple[list[Token], dict[int, list[Mail]]]:
        """Return what of the held executions is lost, and the new mail of the others."""
        held = self.beat.held
        if not held:
            return [], {}
        changed = from_json(batch.json(_SQL["held"].sql, {"held": asked}))
        lost = [held[place].token for place, is_lost in changed if is_lost]
        news = [(held[place].token.key, held[place].seen) for place, is_lost in changed if not is_lost]
        return lost, mail_past(batch, _MAIL, news)
