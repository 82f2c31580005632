"""The PostgreSQL backend."""

from zart.schedulers.postgres.scheduler import PostgresScheduler

__all__ = ["PostgresScheduler"]
