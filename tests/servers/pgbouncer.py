"""PgBouncer before a PostgreSQL server, where it is installed: on a free port, gone when the test is gone."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

PATIENCE = 20.0
_DROPPED = (
    "synchronous_commit,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,plan_cache_mode,"
    "enable_seqscan,enable_hashjoin,enable_mergejoin,enable_bitmapscan,enable_material,jit"
)


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def is_pgbouncer_there() -> bool:
    """Whether it can be started here."""
    return _program() is not None


class PgBouncer:
    """One pooler, for use in a `with`. The setting `ignore` says to take our settings, and drop them."""

    def __init__(self, port: int, settings: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="zart-pgbouncer-"))
        self._target = port
        self._settings = {key: value for key, value in settings.items() if key != "ignore"}
        if "ignore" in settings:
            self._settings["ignore_startup_parameters"] = _DROPPED
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]

    @property
    def dsn(self) -> str:
        """The server, through the pooler."""
        return f"postgresql://zart@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        """Start, and return when it listens."""
        program = _program()
        assert program is not None, "PgBouncer is not installed"
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
        user: dict[str, object] = {}
        if os.geteuid() == 0:  # it refuses to be root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with (self._folder / "log").open("wb") as log:
            command = [program, self._folder / "pgbouncer.ini"]
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **user)  # type: ignore[call-overload] # a dict of options has one type for all
        until = time.monotonic() + PATIENCE
        while not self._listens():
            if time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
