"""A PostgreSQL primary with a synchronous standby on this machine, which takes its place when it is killed."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg

from tests.servers.postgres import DEBIAN, PostgresServer
from tests.servers.program import PATIENCE
from zart.clock import SystemClock

_IS_SYNC = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"


def missing() -> str | None:
    """Return what to install, None if it is there."""
    return None if (DEBIAN / "pg_basebackup").exists() else "apt-get install postgresql-15"


class Primary(PostgresServer):
    """A server that can be killed with -9, and is not started again."""

    def __init__(self) -> None:
        super().__init__(DEBIAN, fsync=True, options={"shared_buffers": "64MB", "dynamic_shared_memory_type": "mmap"})

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Kill all of it with -9, as when a machine goes: nobody says goodbye."""
        postmaster = self._postmaster()
        os.kill(postmaster, signal.SIGSTOP)  # it must not start another
        for pid in [*_children(postmaster), postmaster]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()
        segment = (self._folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)

    async def follow_me(self) -> None:
        """Wait for a standby to stream, and acknowledge from now on only what it has too."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            began = SystemClock.monotonic()
            while not await connection.fetchval(_IS_SYNC):
                if SystemClock.monotonic() - began > PATIENCE:
                    raise RuntimeError(f"no standby follows the server at {self.address}")
                await asyncio.sleep(0.02)
        finally:
            await connection.close()

    def _postmaster(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])


class Standby(Primary):
    """A copy of a primary that follows it, until it is promoted."""

    def __init__(self, primary: Primary) -> None:
        super().__init__()
        self._primary = primary

    def _prepare(self) -> None:
        """Copy the primary."""
        copy = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        source = ["--host=127.0.0.1", f"--port={self._primary.port}", "--username=zart"]
        command = [self._programs / "pg_basebackup", *source, *copy, "-D", self._folder / "data"]
        subprocess.run(command, check=True, capture_output=True, **self._user)
        with (self._folder / "data" / "postgresql.auto.conf").open("a") as settings:
            settings.write("synchronous_standby_names = ''\n")  # it has no standby of its own yet

    async def promote(self) -> None:
        """Take the primary's place."""
        connection = await asyncpg.connect(self.dsn)
        try:
            assert await connection.fetchval("SELECT pg_promote()")
        finally:
            await connection.close()

    def _answers(self) -> bool:
        # As a standby it says "standby" where a primary says "ready".
        try:
            lines = (self._folder / "data" / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return lines[-1:] in (["ready"], ["standby"])


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
