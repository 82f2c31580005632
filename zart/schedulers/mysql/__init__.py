"""The MySQL and MariaDB backend. Its driver comes with the extra `mysql`; without it, whoever makes a scheduler is told so."""

from zart.errors import NotSupported

try:
    from zart.schedulers.mysql.scheduler import MySqlScheduler
except ImportError as _error:  # `import zart` is for those too who have no driver, or one that is broken
    _is_missing = isinstance(_error, ModuleNotFoundError)
    _what = f"{str(_error.name).partition('.')[0]} is not installed" if _is_missing else f"its driver is broken: {_error}"

    class _WithoutDriver:
        """Stands where the scheduler would."""

        def __init__(self, *_: object, **__: object) -> None:
            raise NotSupported(f"{_what}; install zart-durable[mysql]")

    globals()["MySqlScheduler"] = _WithoutDriver  # not assigned: to type checkers it is the scheduler and nothing else

__all__ = ["MySqlScheduler"]
