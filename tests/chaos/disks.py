"""A disk of its own that can be full: a small file system in memory, where this user may mount one."""

import os
import subprocess
from pathlib import Path
from typing import Self

from attrs import define, field

MEGABYTES = 256


@define(eq=False)
class Disk:
    """For use in a `with`. `mounted` says whether it is one; else the folder is on the disk that everybody has."""

    folder: Path
    owner: int
    mounted: bool = field(init=False, default=False)

    def __enter__(self) -> Self:
        """Mount it, if that is allowed."""
        self.folder.mkdir()
        options = f"size={MEGABYTES}m,mode=700,uid={self.owner}"
        command = ["mount", "-t", "tmpfs", "-o", options, "zart-chaos", str(self.folder)]
        try:
            self.mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            self.mounted = False
        if not self.mounted and os.geteuid() == 0:
            os.chown(self.folder, self.owner, -1)
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away, also from under those who have not let go of it yet."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room. Others write meanwhile, so this is to be repeated as long as it shall be full."""
        room = os.statvfs(self.folder)
        left = room.f_bavail * room.f_frsize
        if left:
            file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, os.fstat(file).st_size, left)
            except OSError:
                pass  # somebody else took the last of it
            finally:
                os.close(file)

    def empty(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)
