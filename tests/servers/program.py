"""A server as a program that tests start: on a free port, in a temporary folder, gone when the run is gone."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

PATIENCE = 30.0

# The shell lives as long as its standard input is open, which is as long as this process lives, however it ends.
_KEEPER = '"$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -{signal} $server; wait $server'


def kept(command: Sequence[str | Path], signal: str = "KILL") -> list[str | Path]:
    """Return a command that runs another one until its standard input, a pipe, is closed, and then ends it by a signal."""
    return ["sh", "-c", _KEEPER.format(signal=signal), *command]


class ServerProgram:
    """One server, for use in a `with`. A kind of its own says what it is, and when it has started.

    `name` is part of the folder's name, `signal` what ends it at once.
    """

    def __init__(self, name: str, signal: str = "KILL") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"zart-{name}-"))
        self._signal = signal
        self._user: dict[str, Any] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]

    def __enter__(self) -> Self:
        """Make what it starts from, and start."""
        try:
            if os.geteuid() == 0:
                self._become_unprivileged()
            self._prepare()
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
        with (self._folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                kept(self._command(), self._signal),
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
            time.sleep(0.02)  # another process, which tells nobody

    def stop(self) -> None:
        """Stop at once, as in a crash."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()
            keeper.wait(PATIENCE)

    def _prepare(self) -> None:
        """Make what it starts from, in its folder."""

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether it has started: here, whether it listens."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _become_unprivileged(self) -> None:
        """Have it run as nobody: servers refuse to be root."""
        nobody = pwd.getpwnam("nobody")
        self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": self._folder}
        os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
