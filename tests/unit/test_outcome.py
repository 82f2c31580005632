"""Errors as text and back: the same class, text and arguments, or StepFailed with the words; never an error of their own."""

import asyncio
import builtins
import dataclasses
import gc
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
from attrs import define, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from zart import errors
from zart.codec import codec_for
from zart.errors import (
    BodyFailure,
    DeadlineExceeded,
    DeserializationError,
    EventTimeout,
    ExecutionAlreadyExists,
    ExecutionFailure,
    MaxRetriesExhausted,
    NonRetryable,
    PayloadTooLarge,
    RetriesExhausted,
    RetryAfter,
    RetryExhausted,
    StepFailed,
    StepFailure,
    StepTimedOut,
    TaskError,
    TaskTimeout,
    UndeclaredType,
    ZartError,
)
from zart.outcome import (
    BusinessErr,
    Ok,
    StepOutcome,
    ZartErr,
    error_summary,
    error_through,
    failure_fields,
    failure_of,
    failure_reason,
    failure_traceback,
    is_final,
    load_error,
    load_failure,
    save_error,
    save_failure,
    step_failed,
)
from zart.outcome.wording import MESSAGE_BYTES, TRACEBACK_BYTES, text_of
from zart.status import ExecutionStatus


class Reason(StrEnum):
    FUNDS = "funds"


@frozen
class Money:
    amount: Decimal


class Declined(Exception):
    """The family of business errors."""


class OtherInit(Declined):
    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}: {hint}")
        self.code = code
        self.hint = hint


class NoSuper(Declined):
    def __init__(self, a: int, b: int = 2) -> None:
        self.total = a + b


class Typed(Declined):
    def __init__(self, reason: Reason, money: Money) -> None:
        super().__init__(reason, money)
        self.money = money


class WithStr(Declined):
    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code={self.code}"


class OwnNew(Declined):
    def __new__(cls, first: str, second: str) -> Self:
        return super().__new__(cls, first + second)  # arguments that its __init__ does not repeat

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first, second)


class Slotted(Declined):
    __slots__ = ("__hidden", "code")

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        self.__hidden = "h"


class Bulky(Declined):
    """An attribute that cannot be saved is left out."""

    def __init__(self, response: object) -> None:
        super().__init__("bulky")
        self.response = response


class Missing(Declined, FileNotFoundError):
    pass


class BadUnicode(Declined, UnicodeDecodeError):
    pass


class Frozen(Declined):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class OwnReduce(Declined):
    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle")


class OwnArgs(Declined):
    def __init__(self, client: object, code: int) -> None:
        super().__init__(client, code)


class Final(BaseException):
    """No Exception at all."""


class Grouped(Declined, ExceptionGroup[Exception]):
    pass


@define
class AttrsError(Declined):
    code: int
    money: Money
    at: datetime | None = None


@frozen
class FrozenAttrs(Declined):
    reason: Reason
    note: str = ""


@dataclasses.dataclass
class DataError(Declined):
    code: int
    tags: set[str] = dataclasses.field(default_factory=set)


def noted(error: BaseException, *notes: str) -> BaseException:
    for note in notes:
        error.add_note(note)
    return error


AT = datetime(2024, 5, 1, tzinfo=UTC)
BUSINESS: list[BaseException] = [
    Declined(),
    Declined("card declined"),
    Declined("a", 1, 2.5, None, True, [1, {"a": []}]),
    Declined(Decimal("1.10"), AT, UUID(int=1), b"\xff", (1, (2,)), {1, 2}, frozenset({"a"}), {1: "a"}, Path("a"), timedelta(1)),
    Declined("NUL \0", "\ud800", "\ud83d\ude00", "%", 2**70, 10**4000, math.nan, -0.0, math.inf),
    Declined({"$zart:type": ["error", {}]}, {"$zart:float": "nan"}),
    Declined(ValueError("inner", 5), KeyError("k"), Declined("nested")),
    Declined(RuntimeError(OSError(2, "no", "file"))),
    OtherInit(5, hint="try later"),
    NoSuper(1),
    NoSuper(1, b=3),
    Typed(Reason.FUNDS, Money(Decimal("2.50"))),
    WithStr(7),
    OwnNew("a", "b"),
    Slotted(3),
    Missing(2, "No such file", "a.txt"),
    Missing(2, "No such file", "a.txt", None, "b.txt"),
    Missing("only words"),
    BadUnicode("utf-8", b"\xff", 0, 1, "bad"),
    Frozen("frozen"),
    OwnReduce("own"),
    AttrsError(1, Money(Decimal(2)), AT),
    FrozenAttrs(Reason.FUNDS),
    DataError(1, {"a"}),
    Final("final"),
    Grouped("several", [ValueError("a"), Declined("b")]),
    noted(Declined("with notes"), "one", "two \0"),
    KeyError("key"),
    StopIteration(5),
    SystemExit(3),
    ImportError("no module", name="x", path="y"),
    OSError(13, "Permission denied", "/x"),
    asyncio.CancelledError("stop"),
]
DECLARED = (Declined, Final, KeyError, StopIteration, SystemExit, ImportError, OSError, asyncio.CancelledError)


def parts(error: BaseException) -> Any:
    """Return all that must come back: NaN and exceptions inside compare by their text."""
    return type(error), str(error), repr(error.args), getattr(error, "__notes__", [])


@pytest.mark.parametrize("error", BUSINESS, ids=lambda error: type(error).__name__)
def test_a_declared_error_comes_back_as_itself(error: BaseException) -> None:
    text = save_error(error, DECLARED, "charge")
    text.encode()
    again = load_error(text, DECLARED)
    assert parts(again) == parts(error)
    assert again.zart_step == "charge"  # type: ignore[attr-defined] # set on every one
    assert parts(error_through(error, DECLARED, "charge")[1]) == parts(error)
    assert save_error(again, DECLARED, "charge").partition('"traceback"')[0] == text.partition('"traceback"')[0]
    assert not is_final(text)
    assert type(error).__name__ in error_summary(text)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (OtherInit(5, hint="x"), ["code", "hint"]),
        (Typed(Reason.FUNDS, Money(Decimal(2))), ["money"]),
        (AttrsError(1, Money(Decimal(2)), AT), ["code", "money", "at"]),
        (FrozenAttrs(Reason.FUNDS, "n"), ["reason", "note"]),
        (DataError(1, {"a"}), ["code", "tags"]),
        (Slotted(3), ["code", "_Slotted__hidden"]),
        (NoSuper(1), ["total"]),
        (Missing(2, "No", "a", None, "b"), ["errno", "strerror", "filename", "filename2"]),
        (BadUnicode("utf-8", b"\xff", 0, 1, "bad"), ["encoding", "object", "start", "reason"]),
        (ImportError("m", name="x", path="y"), ["name", "path"]),
        (StopIteration(5), ["value"]),
        (SystemExit(3), ["code"]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_attributes_of_a_declared_error_come_back(error: BaseException, names: list[str]) -> None:
    again = load_error(save_error(error, DECLARED), DECLARED)
    assert [getattr(again, name) for name in names] == [getattr(error, name) for name in names]


def test_an_attribute_that_cannot_be_saved_is_left_out_on_the_first_run_too() -> None:
    error = Bulky(object())
    text, seen = error_through(error, DECLARED)
    for again in (seen, load_error(text, DECLARED)):
        assert parts(again) == parts(error)
        assert not hasattr(again, "response")


def test_an_argument_that_cannot_be_saved_makes_it_step_failed_with_its_words() -> None:
    error = OwnArgs(object(), 5)
    text, seen = error_through(error, DECLARED, "charge")
    assert type(seen) is StepFailed
    assert (seen.step, seen.error_type, seen.message) == ("charge", f"{__name__}.OwnArgs", str(error))
    assert seen.__cause__ is error
    assert parts(load_error(text, DECLARED)) == parts(seen)


def test_a_subclass_of_a_declared_class_comes_back_as_itself() -> None:
    class Local(Declined):
        pass

    assert type(load_error(save_error(Local("x"), (Declined,)), (Declined,))) is Local


def test_a_class_that_is_gone_comes_back_as_its_nearest_declared_ancestor() -> None:
    def save() -> str:
        class Middle(Declined):
            pass

        class Gone(Middle):
            pass

        return save_error(Gone("x"), (Declined,), "s")

    text = save()
    gc.collect()
    again = load_error(text, (KeyError, Declined))
    assert parts(again) == (Declined, "x", "('x',)", [])
    undeclared = load_error(text, (KeyError,))
    assert type(undeclared) is StepFailed
    assert (undeclared.step, undeclared.message) == ("s", "x")


def test_a_class_is_never_looked_up_anywhere_else() -> None:
    text = save_error(Declined("x"), (Declined,))
    for name in ("os.system", "builtins.SystemExit", "SystemExit", "zart.errors.StepFailed"):
        planted = json.dumps({**json.loads(text), "class": name})
        assert type(load_error(planted, (Declined,))) is StepFailed


# ---- Zart's own -----------------------------------------------------------------------------------------------------

ZART: list[BaseException] = [
    StepFailed("s", "ValueError", "m\0\ud800", "t"),
    StepFailed("s"),
    RetryExhausted("s", 4, StepFailed("s", "ValueError", "m", "t")),
    RetryExhausted("s", 4, Declined("business")),
    RetryExhausted("s", 4, AttrsError(1, Money(Decimal(1)))),
    RetryExhausted("s", 4, ConnectionResetError(104, "reset")),
    StepTimedOut("s", 1.5),
    StepTimedOut("s"),
    EventTimeout("e", "wait"),
    UndeclaredType("the result", "Charge", "declare it"),
    PayloadTooLarge("the result", 5, 4),
    DeserializationError("data.x: expected int, found 'a'"),
    MaxRetriesExhausted(3, ValueError("x")),
    ExecutionAlreadyExists("id", ExecutionStatus.RUNNING),
    NonRetryable(ValueError("x")),
    NonRetryable("words"),
    RetryAfter("5s", KeyError("k")),
    errors.NonDeterminism("a", "b"),
    errors.UnknownTask("t", ("a",)),
    errors.DuplicateStepName("n"),
    errors.InsideStep("not here"),
    errors.StorageUnavailable("gone"),
    TaskTimeout(),
]


@pytest.mark.parametrize("error", ZART, ids=lambda error: type(error).__name__)
def test_an_error_of_zart_comes_back_as_itself(error: BaseException) -> None:
    text = save_error(error, (Declined,), "s")
    again = load_error(text, (Declined,))
    assert parts(again) == parts(error)
    seen, was = ({name: repr(value) for name, value in vars(each).items() if name != "zart_step"} for each in (again, error))
    assert seen == was
    assert parts(error_through(error, (Declined,), "s")[1]) == parts(error)


def test_every_error_of_zart_is_in_the_table() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, ZartError):
            bare = kind.__new__(kind, "x")
            assert type(load_error(save_error(bare, ()), ())) is kind


def test_what_makes_a_result_unsaveable_is_final() -> None:
    final = (UndeclaredType("r", "T", "m"), PayloadTooLarge("r", 2, 1), DeserializationError("x"))
    assert all(is_final(save_error(error, ())) for error in final)
    others = (StepFailed("s"), RetryExhausted("s", 1, final[0]), StepTimedOut("s"), ValueError("x"))
    assert not any(is_final(save_error(error, ())) for error in others)
    assert not any(is_final(text) for text in ("", "[]", "nonsense", '{"class":"UndeclaredType"}'))


def test_the_last_error_keeps_its_class() -> None:
    again = load_error(save_error(RetryExhausted("s", 2, Declined("x")), (Declined,), "s"), (Declined,))
    assert isinstance(again, RetryExhausted)
    assert parts(again.last_error) == parts(Declined("x"))
    again = load_error(save_error(RetryExhausted("s", 2, Bulky(3)), (), "s"), ())
    assert isinstance(again, RetryExhausted)
    assert isinstance(again.last_error, StepFailed)
    assert again.last_error.message == "bulky"


# ---- whatever comes in ----------------------------------------------------------------------------------------------


class BadStr(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value] # noqa: PLE0307 # the point


class TextOfItsOwn(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise ValueError("from __getitem__")

    def encode(self, *args: object) -> bytes:
        raise ValueError("from encode")


class OddText(Exception):
    def __str__(self) -> str:
        return TextOfItsOwn("odd")


class BadRepr(Exception):
    __hash__ = None  # type: ignore[assignment] # the point

    def __repr__(self) -> str:
        raise ValueError("from __repr__")

    def __eq__(self, other: object) -> bool:
        raise ValueError("from __eq__")


class BadAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class BadMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__module__", "__name__", "__qualname__"}:
            raise ValueError(name)
        return super().__getattribute__(name)


class BadName(Exception, metaclass=BadMeta):
    pass


class BadDict(Exception):
    @property
    def __dict__(self) -> dict[str, Any]:
        raise ValueError("from __dict__")


class BadArgs(Exception):
    @property
    def args(self) -> Any:
        raise ValueError("from args")


def looped() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    one.args = (one,)
    return one


def chained(length: int) -> BaseException:
    error: BaseException = ValueError("first")
    for number in range(length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


def odd_notes() -> BaseException:
    error = ValueError("x")
    error.__notes__ = 5  # type: ignore[assignment] # the point
    return error


def deep_group(depth: int) -> BaseException:
    error: Exception = ValueError("x")
    for _ in range(depth):
        error = ExceptionGroup("g", [error])
    return error


HOSTILE: list[Callable[[], BaseException]] = [  # made late: a test runner looks at what it is given
    lambda: BadStr("x"),
    lambda: Declined(10**5000),
    lambda: NoText("x"),
    lambda: OddText("x"),
    lambda: BadRepr("x"),
    lambda: ValueError(BadRepr("x")),
    lambda: BadAttributes("x"),
    lambda: BadName("x"),
    lambda: BadDict("x"),
    lambda: BadArgs("x"),
    looped,
    lambda: chained(300),
    odd_notes,
    lambda: deep_group(3),
    lambda: deep_group(300),
    lambda: ValueError("\0\ud800"),
    lambda: ValueError("x" * 10_000_000),
    lambda: ValueError("é" * 100_000),
    lambda: ValueError([[]] * 100_000),
    lambda: SyntaxError("x", ("f", "1", 2, 3)),
    lambda: SystemExit(BadStr()),
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    StopAsyncIteration,
    RecursionError,
    MemoryError,
    lambda: StepFailed(BadStr("x")),  # type: ignore[arg-type] # the point
    lambda: StepFailed.__new__(StepFailed),
    lambda: RetryExhausted("s", 3, looped()),
    lambda: RetryExhausted("s", 3, BadRepr()),
    lambda: MaxRetriesExhausted(3, None),
]


@pytest.mark.parametrize("make", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("declared", [(), (BaseException,)], ids=["undeclared", "declared"])
def test_whatever_comes_in_is_saved(make: Callable[[], BaseException], declared: tuple[type[BaseException], ...]) -> None:
    error = make()
    text, seen = error_through(error, declared, "charge")
    text.encode()
    assert len(text) <= 1024 * 1024
    assert type(load_error(text, declared)) is type(seen)
    assert text_of(load_error(text, declared)) == text_of(seen)
    assert error_summary(text).isprintable() or "\0" in error_summary(text) or "\ud800" in error_summary(text)
    failure = failure_of(error)
    saved = save_failure(failure, declared)
    saved.encode()
    assert load_failure(saved, declared) == failure or type(failure) is StepFailure
    assert failure_fields(saved)["kind"] == type(load_failure(saved, declared)).__name__
    assert isinstance(load_failure(saved, declared).error, BaseException)


def test_step_failed_tells_what_happened() -> None:
    def inner() -> None:
        secret = "".join(("a local", " variable"))  # noqa: F841, FLY002 # its value must not be shown
        raise noted(KeyError("missing"), "a note")

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("outer\0") from error

    with pytest.raises(ValueError, match="outer") as raised:
        outer()
    failed = step_failed("charge", raised.value)
    assert failed.__cause__ is raised.value
    assert (failed.step, failed.error_type, failed.message) == ("charge", "ValueError", "outer\0")
    assert str(failed) == "step 'charge' failed: ValueError: outer\0"
    for said in ("in inner", "KeyError: 'missing'", "a note", "direct cause", "ValueError: outer"):
        assert said in failed.traceback
    assert "a local variable" not in failed.traceback


def test_long_texts_are_cut_at_their_beginning() -> None:
    for letter in ("x", "é", "😀", "\ud800"):
        failed = step_failed("s", ValueError(letter * 50_000 + "the end"))
        assert len(failed.message.encode("utf-8", "surrogatepass")) <= MESSAGE_BYTES
        assert len(failed.traceback.encode("utf-8", "surrogatepass")) <= TRACEBACK_BYTES
        assert failed.message.startswith("[…] " + letter)
        assert failed.message.endswith(letter + "the end")
    whole = "x" * MESSAGE_BYTES
    assert step_failed("s", ValueError(whole)).message == whole
    assert step_failed("s", ValueError(whole + "x")).message.startswith("[…] ")


def test_an_error_too_large_to_keep_is_step_failed() -> None:
    text, seen = error_through(Declined("x" * 300_000), DECLARED, "s")
    assert type(seen) is StepFailed
    assert len(text) < 100_000


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", "nonsense", "{}", '{"class":"x"}', '{"sort":"zart","class":"StepFailed"}', "[" * 9999]
)
def test_what_is_no_saved_error_is_told(text: str) -> None:
    assert isinstance(load_error(text, DECLARED), DeserializationError)
    assert error_summary(text).startswith("DeserializationError: ")
    assert isinstance(load_failure(text, DECLARED), BodyFailure)
    assert failure_fields(text)["error_type"] == "DeserializationError"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS | st.binary() | st.decimals() | st.dates() | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=3))
def test_any_arguments_come_back(args: list[Any]) -> None:
    error = Declined(*args)
    assert parts(load_error(save_error(error, DECLARED), DECLARED)) == parts(error)


# ---- failures -------------------------------------------------------------------------------------------------------


def business(step: str) -> BaseException:
    error = Declined("no funds")
    error.zart_step = step  # type: ignore[attr-defined] # as the runtime sets it
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (StepFailed("s", "ValueError", "m", "t"), StepFailure("s", "ValueError", "m")),
        (StepTimedOut("s"), StepFailure("s", "StepTimedOut", "step 's' took longer than its timeout")),
        (EventTimeout("e", "n"), StepFailure("n", "EventTimeout", "no event 'e' came before the deadline of the wait 'n'")),
        (
            RetryExhausted("s", 2, ValueError("x")),
            StepFailure("s", "RetryExhausted", "step 's' failed 2 times, the last time with: ValueError: x"),
        ),
        (business("s"), StepFailure("s", f"{__name__}.Declined", "no funds")),
        (TaskTimeout(), DeadlineExceeded()),
        (MaxRetriesExhausted(2, ValueError("x")), RetriesExhausted(2, BodyFailure("ValueError", "x"))),
        (ValueError("x\0"), BodyFailure("ValueError", "x\0")),
        (Declined("x"), BodyFailure(f"{__name__}.Declined", "x")),
        (Bulky(1), BodyFailure(f"{__name__}.Bulky", "bulky")),
        (TaskError("crash loop"), BodyFailure("TaskError", "crash loop")),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_comes_back_as_it_was(error: BaseException, failure: ExecutionFailure) -> None:
    assert failure_of(error) == failure
    text = save_failure(failure_of(error), (Declined,))
    again = load_failure(text, (Declined,))
    assert again == failure
    assert parts(again.error)[:3] == parts(failure_of(error).error)[:3]
    fields = failure_fields(text)
    assert fields["kind"] == type(failure).__name__
    assert {"error_type", "message"} <= fields.keys()
    assert error_summary(text) == " ".join(f"{fields['error_type']}: {fields['message']}".split()).replace("\0", "\\0")


def test_a_failure_whose_error_is_not_declared_keeps_its_words() -> None:
    text = save_failure(failure_of(Declined("x")), ())
    again = load_failure(text, ())
    assert str(again.error) == f"{__name__}.Declined: x"
    assert isinstance(again.error, TaskError)


def test_the_fields_of_a_failure() -> None:
    failure = RetriesExhausted(3, failure_of(StepFailed("s", "ValueError", "m", "t")))
    last = {"kind": "StepFailure", "step": "s", "error_type": "ValueError", "message": "m"}
    assert failure_fields(save_failure(failure, ())) == {
        "kind": "RetriesExhausted",
        "error_type": "MaxRetriesExhausted",
        "message": "failed 3 times, the last time with: ValueError: m",
        "attempts": 3,
        "last": last,
    }
    raw = load_failure(save_failure(failure.last, ()), ())
    assert isinstance(raw, StepFailure)
    assert raw.raw["step"] == "s"


def caught(raise_: Callable[[], Any]) -> Exception:
    try:
        raise_()
    except Exception as error:  # noqa: BLE001 # whatever it is
        return error
    raise AssertionError("it raised nothing")


def looks_up() -> int:
    return {"a": 1}["nokey"]


def test_a_bodys_failure_keeps_its_traceback_and_place_also_when_it_was_tried_again() -> None:
    failure = failure_of(caught(looks_up))
    assert isinstance(failure, BodyFailure)
    line = looks_up.__code__.co_firstlineno + 1
    for each in (failure, RetriesExhausted(2, failure)):
        text = save_failure(each, ())
        assert failure_traceback(text) == failure.traceback
        assert failure_reason(text) == f"{error_summary(text)} (test_outcome.py:{line} in looks_up)"
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert f"line {line}, in looks_up" in failure.traceback
    again = load_failure(save_failure(failure, ()), ())
    assert isinstance(again, BodyFailure)
    assert again.traceback == failure.traceback


def test_the_place_is_in_users_code_whoever_raised() -> None:
    for raise_ in (lambda: json.loads("{"), load_one):
        reason = failure_reason(save_failure(failure_of(caught(raise_)), ()))
        assert "(test_outcome.py:" in reason


def load_one() -> None:
    codec_for(int).decode('"x"')


def test_what_came_through_no_line_of_users_code_has_neither_place_nor_traceback() -> None:
    for error in (TaskError("crash loop"), StepFailed("s", "ValueError", "m", "t")):
        text = save_failure(failure_of(error), ())
        assert (failure_reason(text), failure_traceback(text)) == (error_summary(text), None)


def test_a_failure_of_a_large_traceback_is_cut() -> None:
    error = ValueError("x" * 100_000)
    failure = failure_of(caught(lambda: raise_it(error)))
    text = save_failure(failure, ())
    assert len(failure_traceback(text) or "") <= TRACEBACK_BYTES
    assert len(failure_reason(text)) <= 500 + 203


def raise_it(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("last", ["%s", '{"failure": "RetriesExhausted", "attempts": 2, "last": %s}'])
def test_a_failure_that_an_earlier_version_has_saved_is_read(last: str) -> None:
    text = last % '{"failure": "BodyFailure", "error_type": "KeyError", "message": "x", "error": null}'
    assert (failure_traceback(text), failure_reason(text)) == (None, error_summary(text))
    loaded = load_failure(text, ())
    body = loaded.last if isinstance(loaded, RetriesExhausted) else loaded
    assert isinstance(body, BodyFailure)
    assert (body.message, body.traceback) == ("x", "")


@pytest.mark.parametrize("text", ["", "null", "[]", '{"last": 5}', '{"traceback": 5, "place": ["x"]}'])
def test_what_is_no_failure_has_no_traceback(text: str) -> None:
    assert failure_traceback(text) is None
    assert failure_reason(text) == error_summary(text)


def test_the_fields_tell_the_type_of_the_last_error_unless_it_says_a_sentence() -> None:
    for error, said in ((KeyError("k"), "KeyError: 'k'"), (ValueError(), "ValueError"), (TaskTimeout(), str(TaskTimeout()))):
        fields = failure_fields(save_failure(RetriesExhausted(2, failure_of(error)), ()))
        assert fields["message"] == str(MaxRetriesExhausted(2, error)) == f"failed 2 times, the last time with: {said}"


def test_a_failure_made_by_hand_of_what_is_no_text_is_saved() -> None:
    text = save_failure(StepFailure(object(), "x", "y"), ())  # type: ignore[arg-type] # the point
    assert error_summary(text) == "StepFailure: it could not be saved"


def test_a_summary_is_one_line() -> None:
    assert error_summary(save_error(ValueError("a\n\n  b"), ())) == "ValueError: a b"
    assert error_summary(save_error(Declined(""), (Declined,))) == f"{__name__}.Declined"
    assert len(error_summary(save_error(ValueError("x" * 5000), ()))) == 500


# ---- outcomes -------------------------------------------------------------------------------------------------------


def test_outcomes_match_and_unwrap() -> None:
    def told(outcome: StepOutcome[int]) -> Any:
        match outcome:
            case Ok(value):
                return value
            case BusinessErr(Declined() as error):
                return error
            case ZartErr(StepFailed(step=step)):
                return step

    error = Declined("x")
    assert [told(Ok(5)), told(BusinessErr(error)), told(ZartErr(StepFailed("s")))] == [5, error, "s"]
    assert Ok(5).unwrap() == 5
    for outcome in (BusinessErr(error), ZartErr(error)):
        with pytest.raises(Declined, match="x"):
            outcome.unwrap()


def test_all_of_pythons_own_errors_can_be_inside() -> None:
    kinds = {kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
    for kind in kinds - {BaseExceptionGroup, ExceptionGroup, UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError}:
        again = load_error(save_error(NonRetryable(kind("x")), ()), ())
        assert isinstance(again, NonRetryable)
        assert type(again.cause) is kind
