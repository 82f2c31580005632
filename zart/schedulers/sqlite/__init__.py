"""The SQLite backend."""

from zart.schedulers.sqlite.scheduler import SqliteScheduler

__all__ = ["SqliteScheduler"]
