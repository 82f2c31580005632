"""What a step came to, made for `match`."""

from typing import Generic, NoReturn, TypeAlias, TypeVar

from attrs import frozen

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@frozen
class Ok(Generic[T_co]):
    """The step returned `value`."""

    value: T_co

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value


@frozen
class BusinessErr:
    """The step raised one of its declared errors: a decision."""

    error: BaseException

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@frozen
class ZartErr:
    """The step failed otherwise: `StepFailed`, `RetryExhausted`, `StepTimedOut`, or a result that cannot be saved."""

    error: BaseException

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


StepOutcome: TypeAlias = Ok[T] | BusinessErr | ZartErr
"""What a step came to, `T` being the type of its value.

It is a union and no class: write it where a type is wanted, as in `def booked(outcome: StepOutcome[str]) -> bool`, and its
three parts in a `match`. A type checker then knows the type of `Ok`'s value, and misses a case that is not there.
"""
