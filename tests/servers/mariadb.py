"""MariaDB and MySQL servers for a test run: on a free port, in a temporary folder, gone when the run is gone."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import asyncmy

PATIENCE = 30.0

# The shell lives as long as its standard input is open, which is as long as this process lives, however it ends.
_KEEPER = '"$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -KILL $server; wait $server'


def installed() -> Path | None:
    """Return the server's program, None if there is none."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return None if found is None else Path(found)


def installed_mysql() -> Path | None:
    """Return the program of a MySQL server, None if there is none. `ZART_MYSQLD` says where one is that is on no path."""
    found = os.environ.get("ZART_MYSQLD") or shutil.which("mysqld", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None or "MariaDB" in subprocess.run([found, "--version"], check=False, capture_output=True, text=True).stdout:
        return None
    return Path(found)


class MariaDbServer:
    """One server, for use in a `with`. `options` are settings beside those that make tests fast; with `fsync` it is durable."""

    def __init__(self, *, fsync: bool = False, options: Mapping[str, str] | None = None) -> None:
        program = self._find()
        if program is None:
            raise RuntimeError("there is no server; install Debian's mariadb-server, or mysql-server-core")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="zart-mariadb-"))
        self._user: dict[str, Any] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self.port: int = _free_port()
        self._options = {
            "bind_address": "127.0.0.1",
            "port": str(self.port),
            "socket": str(self._folder / "socket"),
            "pid_file": str(self._folder / "pid"),
            "max_connections": "300",
            "innodb_flush_log_at_trx_commit": "1" if fsync else "0",
            "innodb_flush_method": "O_DIRECT" if fsync else "nosync",
            "innodb_buffer_pool_size": "256M" if fsync else "64M",
            "init_file": str(self._folder / "init.sql"),
            "performance_schema": "OFF",
            # What a server may well say by itself, and what must not reach the tables.
            "character_set_server": "latin1",
            **self._own(),
            **(options or {}),
        }

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"mysql://root@127.0.0.1:{self.port}/zart"

    def __enter__(self) -> Self:
        """Make the data folder and start."""
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": self._folder}
                os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            subprocess.run(self._make(self._folder / "data"), check=True, capture_output=True, **self._user)
            (self._folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS zart;\n")
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
        named = {name.replace("_", "-"): value for name, value in self._options.items()}
        settings = [f"--{name}={value}" if value else f"--{name}" for name, value in named.items()]
        with (self._folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", _KEEPER, self._program, "--no-defaults", f"--datadir={self._folder / 'data'}", *settings],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user,
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > until or self._keeper.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop at once, as in a crash: with kill -9."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()
            keeper.wait(PATIENCE)

    async def session(self, database: str | None = "zart") -> Any:
        """Return a plain connection, for whoever closes it."""
        return await asyncmy.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)

    def _find(self) -> Path | None:
        return installed()

    def _own(self) -> dict[str, str]:
        """Return settings that are not the same on all servers."""
        return {"skip_name_resolve": "ON"}

    def _make(self, folder: Path) -> list[str]:
        """Return the command that makes the data folder."""
        make = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        return [*make, f"--datadir={folder}", f"--tmpdir={folder.parent}", "--innodb-flush-method=nosync"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as asked:
                return bool(asked.recv(1))
        except OSError:
            return False


class MySqlServer(MariaDbServer):
    """The same, of MySQL."""

    def _find(self) -> Path | None:
        return installed_mysql()

    def _own(self) -> dict[str, str]:
        return {"mysqlx": "OFF", "skip_log_bin": "", "secure_file_priv": "NULL"}

    def _make(self, folder: Path) -> list[str]:
        return [
            str(self._program),
            "--no-defaults",
            "--initialize-insecure",
            f"--datadir={folder}",
            "--innodb-flush-method=nosync",
        ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
