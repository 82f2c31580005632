"""When to try again: a policy as data and the arithmetic of its delays."""

from datetime import timedelta
from typing import Any, Literal, Self, get_args

from attrs import field, frozen
from attrs.converters import optional

from zart.clock import Micros, micros
from zart.durations import LONGEST, Duration, to_timedelta

Jitter = Literal["none", "full", "equal"]
Backoff = Literal["none", "fixed", "linear", "exponential"]
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

_LONGEST: Micros = micros(LONGEST)
_STEEPEST = 1000.0


def error_types(types: ErrorTypes, what: str = "retry_on or give_up_on") -> tuple[type[BaseException], ...]:
    """Return exception classes as a tuple.

    Raises:
        TypeError: something in it is no exception class.
    """
    given = types if isinstance(types, tuple) else (types,)
    for each in given:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise TypeError(f"{what} takes exception classes, not {each!r}")
    return given


def _whole(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"max_retries must be a whole number from 0, not {value!r}")
    return value


def _known(_: object, attribute: Any, value: object) -> None:
    allowed = get_args(attribute.metadata["kinds"])
    if value not in allowed:
        raise ValueError(f"{attribute.name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def _delay(value: Duration) -> timedelta:
    return to_timedelta(value, "delay")


def _max_delay(value: Duration) -> timedelta:
    return to_timedelta(value, "max_delay")


def _growth(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1.0 <= value <= _STEEPEST:
        raise ValueError(f"multiplier must be a number between 1 and {_STEEPEST:g}, not {value!r}")
    return value


@frozen
class RetryConfig:
    """A retry policy. `max_retries` counts retries, not attempts: 3 means up to 4 calls.

    Use the constructors `none`, `fixed`, `linear` and `exponential`. `max_delay` caps each delay. `jitter` is "none", "full"
    (between 0 and the delay) or "equal" (between half the delay and the delay). `retry_on` names the exception types worth
    another try (default: every `Exception`, but not the step's declared business errors); `give_up_on` names those that are
    not.

    Raises:
        ValueError: a negative count, a bad duration or multiplier, or an unknown jitter.
        TypeError: something that is no duration, or no exception type.
    """

    backoff: Backoff = field(validator=_known, metadata={"kinds": Backoff})
    max_retries: int = field(converter=_whole)
    delay: timedelta = field(default=timedelta(0), converter=_delay)
    multiplier: float = field(default=2.0, converter=_growth)
    max_delay: timedelta | None = field(default=None, converter=optional(_max_delay))
    jitter: Jitter = field(default="none", validator=_known, metadata={"kinds": Jitter})
    retry_on: tuple[type[BaseException], ...] = field(default=(), converter=error_types)
    give_up_on: tuple[type[BaseException], ...] = field(default=(), converter=error_types)

    @classmethod
    def none(cls) -> Self:
        """Never try again."""
        return cls("none", 0)

    @classmethod
    def fixed(
        cls,
        max_retries: int,
        delay: Duration,
        *,
        max_delay: Duration | None = None,
        jitter: Jitter = "none",
        retry_on: ErrorTypes = (),
        give_up_on: ErrorTypes = (),
    ) -> Self:
        """Wait the same `delay` before every retry."""
        return cls("fixed", max_retries, delay, 1.0, max_delay, jitter, retry_on, give_up_on)

    @classmethod
    def linear(
        cls,
        max_retries: int,
        delay: Duration,
        *,
        max_delay: Duration | None = None,
        jitter: Jitter = "none",
        retry_on: ErrorTypes = (),
        give_up_on: ErrorTypes = (),
    ) -> Self:
        """Wait `delay`, then twice, three times … `delay`."""
        return cls("linear", max_retries, delay, 1.0, max_delay, jitter, retry_on, give_up_on)

    @classmethod
    def exponential(
        cls,
        max_retries: int,
        delay: Duration,
        multiplier: float = 2.0,
        *,
        max_delay: Duration | None = None,
        jitter: Jitter = "none",
        retry_on: ErrorTypes = (),
        give_up_on: ErrorTypes = (),
    ) -> Self:
        """Wait `delay`, then each time `multiplier` times longer."""
        return cls("exponential", max_retries, delay, multiplier, max_delay, jitter, retry_on, give_up_on)

    def delay_before(self, retry: int, chance: float) -> Micros:
        """Return the delay before the `retry`-th retry, counted from 1; `chance` in [0, 1) decides the jitter.

        Never overflows, whatever the count: the delay is capped at `max_delay`, else at 100 years.
        """
        cap = _LONGEST if self.max_delay is None else micros(self.max_delay)
        first = micros(self.delay)
        match self.backoff:
            case "linear":
                full = first * retry
            case "exponential":
                # 1000 is far past the cap for any multiplier above 1.04 and far below what a float can hold at 2.0.
                growth = self.multiplier ** min(retry - 1, 1000 if self.multiplier <= 2.0 else 100)
                full = int(min(first * growth, float(cap)))
            case _:
                full = first
        full = min(full, cap)
        match self.jitter:
            case "full":
                return int(full * chance)
            case "equal":
                return full // 2 + int((full - full // 2) * chance)
            case _:
                return full

    def retries(self, error: BaseException, declared: tuple[type[BaseException], ...] = ()) -> bool:
        """Whether this error is worth another try; `declared` business errors are decisions unless `retry_on` names them."""
        if self.give_up_on and isinstance(error, self.give_up_on):
            return False
        if self.retry_on:
            return isinstance(error, self.retry_on)
        return isinstance(error, Exception) and not isinstance(error, declared)
