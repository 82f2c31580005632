"""What an operation has made happen, for those who wait."""

from attrs import define, field

from zart.clock import Instant
from zart.schedulers.hints import Topic
from zart.schedulers.outlook import Due
from zart.schedulers.sql.deliveries import Decided


@define
class News:
    """Whom something concerns that is durable now. Storage's time, if the operation was told it, is `now`."""

    calls: set[Topic] = field(factory=set)
    due: list[Due] = field(factory=list)
    now: Instant | None = None

    def __bool__(self) -> bool:
        """Whether it concerns anybody."""
        return bool(self.calls or self.due)

    def hear_of_mail(self, decided: Decided) -> None:
        """Take note of what events make happen."""
        if decided.wakes:
            self.due.append((0, None, None))
        self.calls |= {("worker", worker) for worker in decided.workers}

    @property
    def workers(self) -> set[str]:
        """The workers that something came for or was taken from."""
        return {name for kind, name in (topic for topic in self.calls if topic[0] == "worker")}
