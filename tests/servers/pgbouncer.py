"""PgBouncer before a PostgreSQL server, where it is installed: on a free port, gone when the test is gone."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.servers.program import ServerProgram

_DROPPED = (
    "synchronous_commit,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,plan_cache_mode,"
    "enable_seqscan,enable_hashjoin,enable_mergejoin,enable_bitmapscan,enable_material,jit"
)


def program() -> str | None:
    """Return the program, None if there is none."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer(ServerProgram):
    """One pooler, for use in a `with`. The setting `ignore` says to take our settings, and drop them."""

    def __init__(self, port: int, settings: Mapping[str, str]) -> None:
        super().__init__("pgbouncer")
        self._target = port
        self._settings = {key: value for key, value in settings.items() if key != "ignore"}
        if "ignore" in settings:
            self._settings["ignore_startup_parameters"] = _DROPPED

    @property
    def dsn(self) -> str:
        """The server, through the pooler."""
        return f"postgresql://zart@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        lines = [
            "[databases]",
            f"postgres = host=127.0.0.1 port={self._target} user=zart",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = any",
            *(f"{key} = {value}" for key, value in self._settings.items()),
        ]
        (self._folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str | Path]:
        bouncer = program()
        assert bouncer is not None, "PgBouncer is not installed"
        return [bouncer, self._folder / "pgbouncer.ini"]
