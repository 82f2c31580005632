"""The MySQL and MariaDB backend."""

from zart.schedulers.mysql.scheduler import MySqlScheduler

__all__ = ["MySqlScheduler"]
