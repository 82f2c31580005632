"""Telling other processes what has happened, and hearing it from them: LISTEN and NOTIFY, as hints and nothing more.

A notification takes a lock of the whole database while it commits, so none is ever part of a transaction that does work: they
go out on a connection of their own, one at a time, with all that has happened meanwhile in the next. None goes out while nobody
else listens: connections that do have a name to be known by, and who has just come says so. Whoever misses something all the
same looks for himself from time to time.

A connection that listens is opened when somebody first waits. When it is lost it is opened again, and whoever waits is told to
look.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import msgspec
from attrs import define, field

from zart.clock import Clock, SystemClock, pause
from zart.errors import NotSupported
from zart.ids import Randomness, SystemRandomness
from zart.schedulers.outlook import Due
from zart.schedulers.postgres.connections import Connection, Server, Talk
from zart.schedulers.postgres.faults import of_storage
from zart.schedulers.sql.news import News

logger: logging.Logger = logging.getLogger("zart.postgres")

_GAP = 0.005
"""Seconds between two notifications, at least."""
_LONGEST = 7900
"""Bytes: a notification may have 7999."""
_KNOWN_FOR, _UNKNOWN_FOR = 1.0, 0.05
"""Seconds for which it is taken as known whether somebody else listens; the second while nobody who comes would be heard."""
_CHECK = 15.0
"""Seconds after which a silent connection is asked whether it still is one."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Message(msgspec.Struct, array_like=True):
    """What a notification says. `ended` is None when there was too much to tell: look for yourself."""

    sender: str
    due: list[Due]
    workers: list[str]
    ended: list[str] | None

    def news(self) -> News:
        """Return it as news."""
        return News({("worker", each) for each in self.workers} | {("end", each) for each in self.ended or ()}, list(self.due))


@define(eq=False)
class Signals:
    """The connections that tell and listen, on the loop that the scheduler was opened on."""

    _server: Server
    _channel: str
    _others_sql: str
    _notify_sql: str
    _heard: Callable[[News], None]
    _look: Callable[[], None]
    """Is called when something may have been missed."""
    listens: bool
    _clock: Clock = field(factory=SystemClock)
    _randomness: Randomness = field(factory=SystemRandomness)
    _name: str = field(init=False)
    _home: asyncio.AbstractEventLoop | None = None
    _pending: News | None = None
    _telling: asyncio.Task[None] | None = None
    _teller: "Connection | None" = None
    _others_at: float = float("-inf")
    _others: bool = False
    _listening: asyncio.Task[None] | None = None
    _listener_pid: int | None = None
    _hearing: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        """Take a name, to know one's own notifications by."""
        self._name = self._randomness.uuid().hex

    def open(self) -> None:
        """Be of this loop."""
        self._home = asyncio.get_running_loop()
        self._hearing = asyncio.Event()

    async def close(self) -> None:
        """Send what waits, and close the connections."""
        telling, self._telling = self._telling, None
        if telling is not None:
            await asyncio.wait([telling])
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.wait([listening])
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.terminate()
        self._home = None

    # ---- telling ----------------------------------------------------------------------------------------------------

    def tell(self, news: News) -> None:
        """Let other processes know, soon; may be called from any loop."""
        home = self._home
        if home is None:
            return
        if asyncio.get_running_loop() is home:
            self._take(news)
        elif not home.is_closed():
            home.call_soon_threadsafe(self._take, news)

    def _take(self, news: News) -> None:
        if self._home is None:
            return
        if self._pending is None:
            self._pending = news
        else:
            self._pending.calls |= news.calls
            self._pending.due += news.due
        if self._telling is None or self._telling.done():
            self._telling = self._spawn(self._tell())

    async def _tell(self) -> None:
        while (news := self._pending) is not None:
            self._pending = None
            try:
                await self._send(news)
            except (*_LOST, NotSupported) as error:
                logger.debug("a notification could not be sent: %s", error)
                teller, self._teller = self._teller, None
                if teller is not None:
                    teller.terminate()
            await pause(self._clock, _GAP)

    async def _send(self, news: News) -> None:
        if self._teller is None or self._teller.is_closed():
            # What a crash of the server takes from a notification, it takes from those who listen too.
            self._teller = await self._server.connect(name="zart tell", durable=False)
        known_for = _KNOWN_FOR if self._others or self._hearing.is_set() else _UNKNOWN_FOR
        if self._clock.monotonic() - self._others_at > known_for:
            rows = await self._teller.fetch(self._others_sql, self._listener_name, timeout=self._server.timeout)
            pids = {row[0] for row in rows}
            # Where this process's own listener does not show, others would not either.
            self._others = bool(pids - {self._listener_pid}) or (self._listener_pid is not None and not pids)
            self._others_at = self._clock.monotonic()
        if self._others:
            written = _written(news, self._name)
            await self._teller.execute(self._notify_sql, self._channel, written, timeout=self._server.timeout)

    async def tell_within(self, talk: Talk, news: News) -> None:
        """Let everybody know, this process too, when the transaction of somebody else's that has done it commits."""
        if self.listens:
            await talk.rows("wait.notify", self._channel, _written(news, ""))

    # ---- listening --------------------------------------------------------------------------------------------------

    @property
    def _listener_name(self) -> str:
        return f"zart listen {self._channel}"

    def listen(self) -> None:
        """Begin to listen, if that is wanted and has not begun."""
        here = asyncio.get_running_loop()
        if self.listens and self._home is here and (self._listening is None or self._listening.done()):
            self._listening = self._spawn(self._listen())

    async def hearing(self) -> None:
        """Return when a connection listens."""
        await self._hearing.wait()

    async def _listen(self) -> None:
        gap = _FIRST_PAUSE
        while True:
            try:
                await self._listen_once()
                gap = _FIRST_PAUSE
            except NotSupported:
                return
            except Exception as error:
                if of_storage(error, self._server.place) is None:
                    logger.exception("listening failed, trying again in %.1f s", gap)
                else:
                    logger.info("listening failed, trying again in %.1f s: %s", gap, error)
            await pause(self._clock, gap * (0.5 + self._randomness.random() / 2))
            gap = min(gap * 2, _LONGEST_PAUSE)

    async def _listen_once(self) -> None:
        """Listen until the connection is lost."""
        connection = await self._server.connect(name=self._listener_name)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, self._receive)
            self._listener_pid = connection.get_server_pid()
            # A greeting, and nothing more: so those who listen already know that there is somebody else.
            hello = msgspec.json.encode(Message(self._name, [], [], [])).decode()
            await connection.execute(self._notify_sql, self._channel, hello, timeout=self._server.timeout)
            self._hearing.set()
            self._others_at = float("-inf")  # who came before this does not greet again
            self._look()  # whatever was said before is not heard any more
            while not lost.is_set():
                timer = self._clock.call_later(_CHECK, lost.set)
                await lost.wait()
                timer.cancel()
                if not connection.is_closed():
                    lost.clear()
                    await connection.execute("SELECT", timeout=self._server.timeout)
        finally:
            self._listener_pid = None
            self._hearing.clear()
            connection.terminate()

    def _receive(self, connection: object, pid: int, channel: str, payload: object) -> None:
        try:
            message = msgspec.json.decode(str(payload), type=Message)
        except msgspec.DecodeError:
            self._look()  # a newer Zart's, perhaps
            return
        if message.sender == self._name:
            return
        self._others, self._others_at = True, self._clock.monotonic()
        self._heard(message.news())
        if message.ended is None:
            self._look()

    # -----------------------------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        # Not in the caller's context: it belongs to nobody's body.
        return asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())


def _written(news: News, sender: str) -> str:
    """Return a notification, shortened to what one may be."""
    message = Message(
        sender,
        news.due,
        [name for kind, name in news.calls if kind == "worker"],
        [name for kind, name in news.calls if kind == "end"],
    )
    for shorter in ("", "due", "ended", "workers"):
        if shorter == "due":  # something of something is due: enough for everybody to look
            message.due = [(min(each[0] for each in news.due), None, None)] if news.due else []
        elif shorter == "ended":
            message.ended = None
        elif shorter == "workers":  # what they are to know comes with their next beat
            message.workers = []
        if len(msgspec.json.encode(message)) <= _LONGEST:
            break
    return msgspec.json.encode(message).decode()
