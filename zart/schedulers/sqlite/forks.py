"""Which files a process has open, so that its forked children leave them alone.

SQLite's locks belong to a process, and it remembers in memory which of them it has. A forked child inherits the memory but not
the locks. Whatever it opens anew, what it writes into a file that was open at the fork is lost, acknowledged or not, when the
parent closes the file: the parent meets no lock, takes itself for the last one, and removes the -wal file.
"""

import os

from attrs import define

from zart.errors import StorageUnavailable


@define(eq=False)
class Opening:
    """That this process has a file open, from its making until `end`."""

    path: str
    process: int

    @classmethod
    def begin(cls, path: str) -> "Opening":
        """Note it.

        Raises:
            StorageUnavailable: the file was open when this process was forked from another.
        """
        for each in tuple(_OPEN):
            if each.path == path:
                each.check()
        opening = cls(path, os.getpid())
        _OPEN.add(opening)
        return opening

    def is_inherited(self) -> bool:
        """Whether it is another process's, from which this one was forked."""
        return self.process != os.getpid()

    def check(self) -> None:
        """Make sure that it is this process's own.

        Raises:
            StorageUnavailable: it is not.
        """
        if self.is_inherited():
            raise StorageUnavailable(
                f"the SQLite database {self.path!r} was open in process {self.process} when this one, {os.getpid()}, was forked"
                " from it; SQLite's locks do not outlive a fork, and what is written here would be lost: close the scheduler"
                " before the fork and connect in the child, or start a new process instead, e.g. with multiprocessing's 'spawn'"
            )

    def end(self) -> None:
        """Note that the file is closed."""
        _OPEN.discard(self)


_OPEN: set[Opening] = set()
