"""MariaDB and MySQL servers for a test run: on a free port, in a temporary folder, gone when the run is gone."""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncmy
import pytest

from tests.servers.program import ServerProgram


def installed() -> Path | None:
    """Return the server's program, None if there is none."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return None if found is None else Path(found)


def installed_mysql() -> Path | None:
    """Return the program of a MySQL server, None if there is none. `ZART_MYSQLD` says where one is that is on no path.

    Raises:
        pytest.UsageError: what that names is none; the whole run ends, since nobody would miss the tests that want it.
    """
    named = os.environ.get("ZART_MYSQLD")
    if named:
        if not _is_mysql(named):
            raise pytest.UsageError(
                f"ZART_MYSQLD={named} is no MySQL server that can be run; name the program mysqld, or unset it"
            )
        return Path(named)
    found = shutil.which("mysqld", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return None if found is None or not _is_mysql(found) else Path(found)


def _is_mysql(program: str) -> bool:
    """Whether a program says that it is MySQL's server; MariaDB's may have the same name."""
    try:
        told = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    except OSError:
        return False
    return told.returncode == 0 and " Ver " in told.stdout and "MariaDB" not in told.stdout


class MariaDbServer(ServerProgram):
    """One server, for use in a `with`. `options` are settings beside those that make tests fast; with `fsync` it is durable."""

    def __init__(self, *, fsync: bool = False, options: Mapping[str, str] | None = None) -> None:
        program = self._find()
        if program is None:
            raise RuntimeError("there is no server; install Debian's mariadb-server, or mysql-server-core")
        super().__init__("mariadb")
        self._program = program
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

    async def session(self, database: str | None = "zart") -> Any:
        """Return a plain connection, for whoever closes it."""
        return await asyncmy.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)

    def _prepare(self) -> None:
        subprocess.run(self._make(self._folder / "data"), check=True, capture_output=True, **self._user)
        (self._folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS zart;\n")

    def _command(self) -> list[str | Path]:
        named = {name.replace("_", "-"): value for name, value in self._options.items()}
        settings = [f"--{name}={value}" if value else f"--{name}" for name, value in named.items()]
        return [self._program, "--no-defaults", f"--datadir={self._folder / 'data'}", *settings]

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
