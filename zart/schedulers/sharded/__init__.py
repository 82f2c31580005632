"""Several storages as one: executions are parted among them by their ids."""

from zart.schedulers.sharded.scheduler import ShardedScheduler

__all__ = ["ShardedScheduler"]
