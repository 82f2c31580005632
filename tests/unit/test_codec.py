"""Values through the codec: exactly as they were, or refused by name and place."""

import asyncio
import dataclasses
import functools
import math
import string
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic
import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from zart import zart_step
from zart.codec import ANY, check_size, codec_for, return_type
from zart.codec.containers import union_shape
from zart.codec.leaves import LEAVES
from zart.errors import DeserializationError, PayloadTooLarge, UndeclaredType

T = TypeVar("T")
U = TypeVar("U")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Odd(Enum):
    """Values that are not plain: by name."""

    PAIR = (1, 2)
    NOTHING = None
    PRICE = Decimal("1.10")


class Access(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Options(TypedDict, total=False):
    size: Required[int]
    tags: list[str]
    when: NotRequired[datetime]


@frozen
class Line:
    price: Decimal
    count: int = 1


@define
class Order:
    lines: list[Line]
    _secret: bytes = b""
    colour: Colour | None = None
    total: Decimal = field(init=False, default=Decimal(0))


@frozen(slots=False)
class Frozen:
    a: int
    b: int = field(init=False, default=3)


@define
class Node:
    value: int
    next: "Node | None" = None
    children: "list[Node]" = field(factory=list)


@define
class Box(Generic[T]):
    item: T


@define
class Labelled(Box[int], Generic[T]):
    """Its own T is another one than that of its parent."""

    label: T


@dataclasses.dataclass
class Entry:
    at: datetime
    seen: set[int] = dataclasses.field(default_factory=set)
    sum: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.sum = len(self.seen)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Generic[T, U]):
    left: T
    right: U


@define
class CustomInit:
    x: int
    y: str

    def __init__(self, both: str) -> None:
        x, y = both.split(":")
        self.__attrs_init__(int(x), y)


@frozen
class Cat:
    name: str


@frozen
class Dog:
    name: str
    age: int = 0


class Model(pydantic.BaseModel):
    at: datetime
    price: Decimal = Decimal(1)
    alias: int = pydantic.Field(default=0, alias="theAlias")
    ratio: float = 0.0


class Root(pydantic.RootModel[list[int]]):
    pass


UserId = NewType("UserId", int)
Ids = TypeAliasType("Ids", list[UserId])
Twice = TypeAliasType("Twice", tuple[T, T], type_params=(T,))


class LazyAlias:
    """What `type Tree = int | list[Tree] | dict[str, Tree]` makes, for a Python that cannot say it."""

    __name__ = "Tree"

    def __repr__(self) -> str:
        return self.__name__  # the same in every process that collects the tests

    @property
    def __value__(self) -> Any:
        return int | list[TREE] | dict[str, TREE]  # type: ignore[valid-type] # as said


TREE: Any = LazyAlias()


def exact(value: Any) -> Any:  # noqa: PLR0911 # a return for each sort of value
    """Return a value as something that is equal only for what is the same in every type, sign, offset and order."""
    kind = type(value)
    if kind is dict:
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if kind is list or issubclass(kind, tuple):
        return kind, [exact(item) for item in value]
    if kind is set or kind is frozenset:
        return kind, sorted((exact(item) for item in value), key=repr)
    if attrs.has(kind) or dataclasses.is_dataclass(kind):
        names = [each.name for each in (attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind))]
        return kind, [exact(getattr(value, name)) for name in names]
    if kind is datetime or kind is time:
        return kind, value.isoformat(), value.fold
    if kind is float or kind is Decimal:
        return kind, repr(value)
    return kind, value


def assert_exact(declared: Any, value: Any) -> None:
    codec = codec_for(declared)
    text, seen = codec.through(value)
    text.encode()  # what no database refuses
    assert exact(seen) == exact(value)
    assert exact(codec.decode(text)) == exact(value)
    assert codec.encode(seen) == text


# ---- every type, nested ---------------------------------------------------------------------------------------------

OFFSETS = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
ZONES = st.none() | st.just(UTC) | OFFSETS
TEXT = st.text(st.characters() | st.sampled_from("\0\ud800\udc00%$"), max_size=8)
MOMENTS = st.datetimes(timezones=ZONES, allow_imaginary=True)
HASHABLE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, st.integers() | st.integers(-(2**70), 2**70) | st.just(10**700)),
    (float, st.floats(allow_nan=False)),
    (str, TEXT),
    (bytes, st.binary(max_size=5)),
    (datetime, st.builds(lambda at, fold: at.replace(fold=fold), MOMENTS, st.integers(0, 1))),
    (date, st.dates()),
    (time, st.builds(lambda at, fold: at.replace(fold=fold), st.times(), st.integers(0, 1))),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False) | st.just(Decimal("-0"))),
    (UUID, st.uuids()),
    (Path, TEXT.filter(lambda text: "\0" not in text).map(Path)),
    (PurePosixPath, st.just(PurePosixPath("a/b"))),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Odd, st.sampled_from(Odd)),
    (Access, st.sampled_from([Access.READ, Access.READ | Access.WRITE, Access(0)])),
    (
        Literal["a", 1, True, b"x", Colour.RED, None],  # noqa: PYI061 # allowed, so read
        st.sampled_from(["a", 1, True, b"x", Colour.RED, None]),
    ),
    (Annotated[int, "metres"], st.integers()),
    (UserId, st.integers()),
    (Line, st.builds(Line, st.decimals(allow_nan=False), st.integers())),
    (Cat, st.builds(Cat, TEXT)),
    (Dog, st.builds(Dog, TEXT, st.integers())),
]
LEAF_NODES = st.builds(Node, st.integers())
OTHER: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (float, st.floats()),
    (Decimal, st.decimals() | st.sampled_from([Decimal("sNaN"), Decimal("NaN123"), Decimal("-Infinity")])),
    (bytearray, st.binary(max_size=5).map(bytearray)),
    (Point, st.builds(Point, st.integers(), st.floats())),
    (Order, st.builds(Order, st.just([Line(Decimal("1.10"))]), st.binary(max_size=3), st.none() | st.sampled_from(Colour))),
    (Entry, st.builds(Entry, st.datetimes(), st.sets(st.integers(), max_size=3))),
    (Node, st.builds(Node, st.integers(), st.none() | LEAF_NODES, st.lists(LEAF_NODES, max_size=3))),
    (Options, st.fixed_dictionaries({"size": st.integers()}, optional={"when": st.datetimes(), "tags": st.lists(TEXT)})),
    (list, st.lists(st.integers() | TEXT, max_size=2)),
    (dict, st.dictionaries(TEXT, st.floats(), max_size=2)),
    (tuple, st.tuples(st.integers(), TEXT)),
]
NATIVE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXT | st.sampled_from(["$zart:float", "$zart:dict", "$zart:escaped", "$zart:type"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> tuple[Any, st.SearchStrategy[Any]]:  # noqa: PLR0911 # as above
    """Draw a type and the strategy of its values."""
    shape = draw(st.integers(0, 12)) if depth else 0
    hashed, hashes = draw(st.sampled_from(HASHABLE))
    if shape <= 1:
        return draw(st.sampled_from(HASHABLE + OTHER))
    one, ones = draw(typed(depth - 1))
    two, twos = draw(typed(depth - 1))
    match shape:
        case 2:
            return list[one], st.lists(ones, max_size=3)
        case 3:
            return set[hashed], st.sets(hashes, max_size=3)
        case 4:
            return frozenset[hashed], st.frozensets(hashes, max_size=3)
        case 5:
            return tuple[one, two], st.tuples(ones, twos)
        case 6:
            return tuple[one, ...], st.lists(ones, max_size=3).map(tuple)
        case 7:
            return dict[hashed, one], st.dictionaries(hashes, ones, max_size=3)
        case 8:
            return Box[one], st.builds(Box, ones)
        case 9:
            return Pair[one, two], st.builds(Pair, left=ones, right=twos)
        case 10:
            return one | None if one is not None else None, st.none() | ones
        case 11:
            return Any, NATIVE
        case _:
            return (one | None) | (two | None) | hashed if one and two and hashed else None, st.none() | (
                ones | twos | hashes if one and two and hashed else st.none()
            )


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_value_of_any_declared_type_comes_back_as_it_was(data: st.DataObject) -> None:
    declared, values = data.draw(typed())
    value = data.draw(values)
    codec = codec_for(declared)
    assert exact(codec.through(value)[1]) == exact(value)
    assert exact(codec.decode(codec.encode(value))) == exact(value)


@settings(max_examples=200, deadline=None)
@given(NATIVE)
def test_an_undeclared_value_comes_back_as_it_was(value: Any) -> None:
    assert_exact(Any, value)


@pytest.mark.parametrize(("declared", "values"), [*HASHABLE, *OTHER], ids=lambda each: getattr(each, "__name__", None))
def test_each_type_comes_back_as_it_was(declared: Any, values: Any) -> None:
    """Each by itself, so that none depends on what the property happens to draw."""

    @settings(max_examples=8, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        assert_exact(declared, value)

    check()


# ---- hostile values -------------------------------------------------------------------------------------------------

HOSTILE: list[Any] = [
    "\0",
    "\ud800",
    "\ud83d\ude00",
    "😀",
    "%d800",
    "%d800\ud800",
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    2**70,
    -(2**63) - 1,
    10**4299,
    10**5000,
    -(10**5000),
    {"\ud800": "%", "%": 1},
    {"b": 1, "a": 2},
    {"$zart:float": "nan"},
    {"$zart:dict": {"$zart:dict": {}}},
    {"$zart:escaped": "\ud800"},
    {"$zart:type": ["Cat", {}]},
    {"$zart:int": "0x5", "more": 1},
    {"$zart:anything": {"deep": [math.nan, {"$zart:int": "0x5"}]}},
    [[], {}, [[]], ""],
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("where", ["itself", "field", "declared"])
def test_hostile_values_survive(value: Any, where: str) -> None:
    if where == "itself":
        assert_exact(Any, value)
    elif where == "field":
        assert_exact(Box[Any], Box([value]))
    else:
        declared = dict[str, Any] if type(value) is dict else type(value)
        assert_exact(declared, value)
        assert_exact(declared | bytes, value)


def nested(depth: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_goes_500_levels_deep_and_no_further(kind: type) -> None:
    value = nested(500, kind)
    assert ANY.through(value)[1] == value
    with pytest.raises(UndeclaredType, match="the result is nested deeper than 500 levels"):
        ANY.encode(nested(501, kind), "the result")
    with pytest.raises(UndeclaredType, match="nested deeper"):
        ANY.encode(nested(100_000, kind))


def test_text_too_deep_is_refused() -> None:
    for text in ("[" * 501 + "]" * 501, "[" * 100_000 + "]" * 100_000, '{"a":' * 600 + "1" + "}" * 600):
        for codec in (ANY, codec_for(list[Any]), codec_for(dict[str, Any])):
            with pytest.raises(DeserializationError, match=r"nested deeper than 500 levels|expected"):
                codec.decode(text)
    with pytest.raises(DeserializationError, match="nested deeper"):
        ANY.decode("[" * 100_000)
    assert ANY.decode('"' + "[" * 2000 + '"') == "[" * 2000


def test_a_class_that_holds_itself_goes_deep_too() -> None:
    chain = None
    for number in range(400):
        chain = Node(number, chain)
    again = codec_for(Node).through(chain)[1]
    length = 0
    while again:
        length, again = length + 1, again.next
    assert length == 400
    for number in range(2000):
        chain = Node(number, chain)
    with pytest.raises(UndeclaredType, match="nested deeper"):
        codec_for(Node).encode(chain)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UndeclaredType, match="contains itself"):
        ANY.encode(loop)


# ---- the wire form is what anybody would write ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (datetime, datetime(2024, 5, 1, 12, 30, tzinfo=UTC), '"2024-05-01T12:30:00+00:00"'),
        (datetime, datetime(2024, 5, 1, 12, 30, tzinfo=ZoneInfo("Asia/Kathmandu")), '"2024-05-01T12:30:00+05:45"'),
        (datetime, datetime(2024, 5, 1, 12, 30), '"2024-05-01T12:30:00"'),  # noqa: DTZ001
        (datetime, datetime(2024, 5, 1, fold=1), '{"$zart:fold":"2024-05-01T00:00:00"}'),  # noqa: DTZ001
        (timedelta, timedelta(days=-1, microseconds=1), '"-PT86399.999999S"'),
        (Decimal, Decimal("1.10"), '"1.10"'),
        (UUID, UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (bytes, b"\xff\x00", '"/wA="'),
        (set[int], {3, 1, 2}, "[1,2,3]"),
        (Colour, Colour.RED, '"red"'),
        (Level, Level.HIGH, "2"),
        (Odd, Odd.PRICE, '"PRICE"'),
        (Path, Path("/a/b"), '"/a/b"'),
        (Point, Point(1), '{"x":1,"y":0.5}'),
        (Order, Order([Line(Decimal(2))]), '{"lines":[{"price":"2","count":1}],"secret":"","colour":null,"total":"0"}'),
        (dict[int, str], {1: "a"}, '[[1,"a"]]'),
        (dict[UUID, int], {UUID(int=0): 1}, '{"00000000-0000-0000-0000-000000000000":1}'),
        (dict[Colour, int], {Colour.RED: 1}, '{"red":1}'),
        (float, math.nan, '{"$zart:float":"nan"}'),
        (int | str | None, "1", '"1"'),
        (UUID | str, "x", '"x"'),
        (UUID | str, str(UUID(int=5)), '{"$zart:type":["str","00000000-0000-0000-0000-000000000005"]}'),
        (Cat | None, Cat("Tom"), '{"name":"Tom"}'),
        (Cat | int, Cat("Tom"), '{"name":"Tom"}'),
        (Cat | Dog, Cat("Tom"), '{"$zart:type":["Cat",{"name":"Tom"}]}'),
        (Model, Model(at=datetime(2024, 1, 1, tzinfo=UTC), theAlias=5), None),
    ],
    ids=str,
)
def test_the_wire_form_is_natural(declared: Any, value: Any, text: str | None) -> None:
    if text is not None:
        assert codec_for(declared).encode(value) == text
    assert exact(codec_for(declared).through(value)[1]) == exact(value)


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (datetime, '"2024-05-01T12:30:00Z"', datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        (Decimal, "12", Decimal(12)),
        (Decimal, "0.1", Decimal("0.1")),
        (float, "1", 1.0),
        (timedelta, "1.5", timedelta(seconds=1.5)),
        (dict[int, str], '{"7":"x"}', {7: "x"}),
        (dict[UUID, int], '[["00000000-0000-0000-0000-000000000000",1]]', {UUID(int=0): 1}),
        (Line, '{"price":"1","added later":true}', Line(Decimal(1))),
        (Cat | Dog, '{"name":"Tom"}', Cat("Tom")),
        (Cat | int, '{"name":"Tom"}', Cat("Tom")),
        (Options, '{"size":1,"other":2}', {"size": 1}),
        (str, '"\\ud800"', "\ud800"),
        (Any, '{"$zart:new": 1}', {"$zart:new": 1}),
        (Any, '{"$zart:type": ["Cat", {"name": "Tom"}]}', {"$zart:type": ["Cat", {"name": "Tom"}]}),
        (Any, '{"a": 1, "a": 2}', {"a": 2}),
    ],
    ids=str,
)
def test_json_from_outside_is_read(declared: Any, text: str, value: Any) -> None:
    seen = codec_for(declared).decode(text)
    assert exact(seen) == exact(value)


def test_an_integer_of_4300_digits_from_outside_is_refused_in_words() -> None:
    with pytest.raises(DeserializationError, match="data has an integer of 5,000 digits"):
        ANY.decode("1" * 5000)
    with pytest.raises(DeserializationError, match="1e999"):
        ANY.decode("1e999")
    with pytest.raises(DeserializationError, match="NaN"):
        ANY.decode("NaN")


# ---- what is not what was declared ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "5"),
        (int, Level.LOW),
        (bool, 1),
        (str, Colour.RED),
        (str, 5),
        (float, True),
        (float, 2**53 + 1),
        (float, 10**400),
        (date, datetime(2024, 1, 1, tzinfo=UTC)),
        (list[int], (1,)),
        (list[int], [1, "2"]),
        (tuple[int, int], (1,)),
        (set[int], frozenset({1})),
        (dict[str, int], {1: 1}),
        (Literal["a"], "b"),
        (Literal[1], True),
        (Cat, Dog("x")),
        (Cat | None, Dog("x")),
        (int | str, 1.5),
        (Colour, "red"),
        (Box[int], Box("x")),
        (Node, Node(1, "oops")),  # type: ignore[arg-type] # the point
        (Node, Node(1, Node("oops"))),  # type: ignore[arg-type] # the point
        (Options, {"tags": []}),
        (Options, {"size": 1, "other": 1}),
        (Labelled[str], Labelled("x", "y")),
        (Any, (1,)),
        (Any, {1: 2}),
        (Any, Colour.RED),
        (Any, Point(1)),
        (Any, [Decimal(1)]),
        (list, [{1}]),
        (Model, 5),
    ],
    ids=str,
)
def test_a_value_that_is_not_of_its_declared_type_is_refused(declared: Any, value: Any) -> None:
    with pytest.raises(UndeclaredType):
        codec_for(declared).encode(value)


def test_a_subclass_would_come_back_as_its_parent_and_is_refused() -> None:
    class Kitten(Cat):
        pass

    with pytest.raises(UndeclaredType, match="Kitten, a subclass of Cat"):
        codec_for(Cat).encode(Kitten("Tom"))


def test_the_error_says_where_in_the_value() -> None:
    order = Order([Line(Decimal(1)), Line(Decimal(1)), Line("1")])  # type: ignore[arg-type] # the point
    with pytest.raises(UndeclaredType) as refused:
        codec_for(Order).encode(order, "the result of step 'charge'")
    assert str(refused.value) == (
        "the result of step 'charge' at .lines[2].price is of type str, but Decimal is declared; "
        "return Decimal, or declare what it really is"
    )
    with pytest.raises(UndeclaredType, match=r"at \.a\[1\]\[\"\?\"\]|at \.a\[1\]\['\?'\]"):
        ANY.encode({"a": [1, {"?": {1}}]}, "the result of step 'x'")
    with pytest.raises(UndeclaredType, match=r"at \[1\]\.name is of type int"):
        codec_for(tuple[int, Cat | Dog]).encode((1, Cat(5)), "the input of it")  # type: ignore[arg-type] # the point


async def test_what_was_not_awaited_is_said_so() -> None:
    step = zart_step("fs")(lambda: 1)()
    said = "the result of execution 'x' is a Step that was not awaited; await it, and return what comes of it"
    for codec in (codec_for(int), ANY):
        with pytest.raises(UndeclaredType) as refused:
            codec.encode(step, "the result of execution 'x'")
        assert str(refused.value) == said
    with pytest.raises(UndeclaredType, match=r"payload\[0\] is a Future that was not awaited; await it, and give what"):
        codec_for(list[int]).encode([asyncio.Future()], "payload")


def test_an_input_or_payload_is_given_and_not_returned() -> None:
    with pytest.raises(UndeclaredType, match="but None is declared; give None, or declare"):
        codec_for(None).encode(5, "the data of execution 'u'")
    for value in (object(), {"a": {1}}):
        with pytest.raises(UndeclaredType) as refused:
            ANY.encode(value, "the payload of event 'e'")
        assert "return" not in str(refused.value)
        assert "give JSON-like data" in refused.value.mend


def test_an_undeclared_result_is_told_what_to_write() -> None:
    with pytest.raises(UndeclaredType) as refused:
        ANY.encode(Cat("Tom"), "the result of step 'pet'")
    assert refused.value.what == "the result of step 'pet'"
    assert refused.value.type_name == "Cat"
    assert "returns=Cat" in refused.value.mend
    with pytest.raises(UndeclaredType, match="a generator cannot be saved"):
        ANY.encode(number for number in "12")


@pytest.mark.parametrize(
    ("declared", "text", "message"),
    [
        (Order, '{"lines":[{"price":"abc"}]}', "data.lines[0].price: expected Decimal, found 'abc'"),
        (Order, '{"lines":[{"count":1}]}', "data.lines[0].price is missing"),
        (Order, '{"lines":{}}', "data.lines: expected list[Line], found an object of 0"),
        (Order, "[]", "data: expected Order, found a list of 0"),
        (Order, "null", "data: expected Order, found None"),
        (int, "true", "data: expected int, found True"),
        (int, '"5"', "data: expected int, found '5'"),
        (str, "5", "data: expected str, found 5"),
        (float, '"1"', "data: expected float, found '1'"),
        (dict[int, str], '[[1,"a"],[1,"b"]]', "data has one key twice"),
        (dict[str, int], '{"a b":"x"}', "data['a b']: expected int, found 'x'"),
        (Cat | Dog, '{"$zart:type":["os.system",{}]}', "data is a 'os.system', which is no member of Cat | Dog"),
        (Cat | Dog, '{"age":1}', "data: expected Cat | Dog, found an object of 1"),
        (Cat | int, '{"name":1}', "data.name: expected str, found 1"),
        (Model, '{"at":"x"}', "data.at is refused by Model: "),
        (UUID, '"x"', "data: expected UUID, found 'x'"),
        (Decimal, "0.1234567890123456", "data is the JSON number 0.1234567890123456, of which digits may be lost"),
        (datetime, '"2024-01-01"', "data: expected datetime, found '2024-01-01'"),
        (set[Any], "[[]]", "data has an item that cannot be in a set: "),
        (bytes, '"é"', "data: expected bytes, found 'é'"),
        (Any, "{", "data is not JSON: "),
    ],
    ids=str,
)
def test_what_does_not_decode_is_told_with_its_place(declared: Any, text: str, message: str) -> None:
    with pytest.raises(DeserializationError) as refused:
        codec_for(declared).decode(text)
    assert str(refused.value).startswith(message)


def test_what_a_class_refuses_is_told_with_its_place() -> None:
    @define
    class Positive:
        value: int = field(validator=attrs.validators.gt(0))

    with pytest.raises(DeserializationError, match=r"data\[0\] is refused by Positive: ValueError"):
        codec_for(list[Positive]).decode('[{"value":-1}]')


# ---- classes --------------------------------------------------------------------------------------------------------


def test_what_init_does_not_take_comes_back() -> None:
    value = Frozen(1)
    object.__setattr__(value, "b", 9)
    assert_exact(Frozen, value)
    order = Order([])
    order.total = Decimal("3.50")
    assert_exact(Order, order)
    entry = Entry(datetime(2024, 1, 1, tzinfo=UTC), {1, 2})
    entry.sum = 77
    assert_exact(Entry, entry)


def test_type_variables_of_one_name_are_not_mixed_up() -> None:
    assert_exact(Labelled[str], Labelled(1, "x"))
    assert_exact(Box[Box[set[int]]], Box(Box({1})))


def test_an_init_of_its_own_is_not_called() -> None:
    assert_exact(CustomInit, CustomInit("5:x"))


def test_a_constructor_that_does_not_take_its_own_values_back_is_refused_on_the_first_run() -> None:
    @define
    class Split:
        words: list[str] = field(converter=lambda text: text.split())

    with pytest.raises(UndeclaredType, match="could not come back: the result is refused by Split: AttributeError"):
        codec_for(Split).through(Split("a b"), "the result")


def test_pydantic_models_are_kept_by_pydantic() -> None:
    model = Model(at=datetime(2024, 1, 1, tzinfo=UTC), theAlias=5, ratio=math.nan)
    text, seen = codec_for(Model).through(model)
    assert '"theAlias":5' in text
    assert (seen.at, seen.alias, type(seen.price)) == (model.at, 5, Decimal)
    assert math.isnan(seen.ratio)
    assert codec_for(Root).through(Root([1, 2]))[1] == Root([1, 2])
    assert codec_for(Root | str).through("[1]")[1] == "[1]"

    class Secret(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(UndeclaredType, match="does not survive pydantic's own JSON"):
        codec_for(Secret).encode(Secret(password=pydantic.SecretStr("x")))


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        (Cat | Dog, [Cat("a"), Dog("a"), Dog("a", 5)]),
        (list[int] | list[str] | set[int], [[1], ["a"], [], {1}]),
        (date | datetime | str, [date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01", "x"]),
        (float | int, [1, 1.0, -0.0, math.nan, 10**400]),
        (Decimal | float | str, [Decimal(1), 1.0, "1", "NaN"]),
        (Path | str | bytes, [Path("a"), "a", b"a", "YQ=="]),
        (Box[int] | Box[str], [Box(1), Box("a")]),
        (Literal["a", "b"] | str, ["a", "c"]),  # noqa: PYI051 # allowed, so read
        (Colour | str, [Colour.RED, "red"]),
        (Sequence[int], [[1], (1,)]),
        (AbstractSet[int], [{1}, frozenset({1})]),
        (Mapping[str, Cat], [{"a": Cat("x")}]),
        (Options | dict[str, int], [{"size": 1}, {"other": 1}, {"$zart:type": 1}]),
        (Ids, [[], [UserId(1)]]),
        (Twice[int] | Twice[str], [(1, 2), ("a", "b")]),
        (TREE, [1, [1, [2, {"a": [3]}]], {}]),
        (tuple[()] | tuple[int, str], [(), (1, "a")]),
    ],
    ids=str,
)
def test_a_member_of_a_union_comes_back_as_that_member(declared: Any, values: list[Any]) -> None:
    for value in values:
        assert_exact(declared, value)


def test_the_order_in_which_a_union_is_written_does_not_matter() -> None:
    """Python takes `Path | str` and `str | Path` for one type; which of them is built first differs from process to process."""
    one, other = (union_shape("either", [LEAVES[kind] for kind in kinds]) for kinds in ((Path, str), (str, Path)))
    for value in ("a", Path("a")):
        assert one.pack(value) == other.pack(value)
        assert exact(other.unpack(one.pack(value))) == exact(value)


UNSAVEABLE = [ValueError, object(), SimpleNamespace, "Cat", list["Cat"], complex, type(lambda: 0), dict[str, ValueError]]


@pytest.mark.parametrize("declared", UNSAVEABLE, ids=range(len(UNSAVEABLE)))
def test_a_type_that_cannot_be_saved_is_refused_when_it_is_declared(declared: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot be saved|only named"):
        codec_for(declared)


def test_a_class_is_refused_by_the_name_of_what_is_wrong_with_it() -> None:
    @dataclasses.dataclass
    class Initial:
        seed: dataclasses.InitVar[int]

    @define
    class Lost:
        field: "Nowhere"  # noqa: F821 # the point

    @define
    class Inner:
        failure: ValueError

    wrong = ((Initial, r"Initial\.seed is an InitVar"), (Lost, r"Lost cannot be resolved.*Nowhere"), (Inner, "ValueError"))
    for declared, said in wrong:
        for _ in range(2):  # nothing half-made is left behind
            with pytest.raises(TypeError, match=said):
                codec_for(declared)


def test_a_codec_is_built_once() -> None:
    assert codec_for(Order) is codec_for(Order)
    assert codec_for(list[Cat]) is codec_for(list[Cat])
    assert codec_for(Any) is ANY
    unhashable = Annotated[int, []]
    assert codec_for(unhashable) is codec_for(unhashable)
    assert_exact(list[unhashable], [1])


# ---- sizes and return types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "size"), [("a" * 10, 10), ("é" * 5, 10), ("😀" * 3, 12), ("", 0)])
def test_a_size_is_counted_in_bytes(text: str, size: int) -> None:
    check_size(text, size, "the input")
    if size:
        with pytest.raises(PayloadTooLarge) as refused:
            check_size(text, size - 1, "the input")
        assert (refused.value.what, refused.value.size, refused.value.limit) == ("the input", size, size - 1)


async def coroutine_function() -> Cat: ...  # type: ignore[empty-body] # never called
def forward() -> "Order": ...  # type: ignore[empty-body] # as above
def nothing() -> None: ...
def awaitable() -> Awaitable[Cat]: ...  # type: ignore[empty-body] # as above
def bare(): ...  # type: ignore[no-untyped-def] # the point
def lost() -> "Nowhere": ...  # type: ignore[name-defined] # noqa: F821 # the point
def half(x: "Nowhere") -> Cat: ...  # type: ignore[name-defined, empty-body] # noqa: F821 # the point


class Callable:
    def __call__(self) -> Cat: ...  # type: ignore[empty-body] # never called
    def method(self) -> Dog: ...  # type: ignore[empty-body] # never called


@functools.wraps(forward)
def wrapped(*args: Any) -> Any: ...


def test_return_types_are_found() -> None:
    cases: list[tuple[Any, Any]] = [
        (coroutine_function, Cat),
        (forward, Order),
        (nothing, type(None)),
        (awaitable, Cat),
        (bare, Any),
        (half, Cat),
        (lambda: 1, Any),
        (len, Any),
        (functools.partial(functools.partial(forward), 1), Order),
        (Callable(), Cat),
        (Callable().method, Dog),
        (functools.partial(Callable().method), Dog),
        (wrapped, Order),
        (functools.lru_cache(forward), Order),
        (Cat, Cat),
        (string.capwords, Any),
    ]
    for _ in range(2):
        for fn, expected in cases:
            assert return_type(fn) == expected, fn


def test_a_return_type_of_the_function_around_is_not_taken_for_another() -> None:
    def make(kind: Any) -> Any:
        def step() -> "kind":  # type: ignore[valid-type] # the point
            return kind

        def plain() -> kind:  # type: ignore[valid-type] # the point
            return kind

        return step, plain

    for kind in (Cat, Dog):
        assert [return_type(fn) for fn in make(kind)] == [kind, kind]


def test_an_annotation_that_names_nothing_is_told() -> None:
    with pytest.raises(TypeError, match="return annotation 'Nowhere' of lost cannot be resolved"):
        return_type(lost)


def test_flags_are_keys_like_others() -> None:
    value = {Access.READ: 1, Access.READ | Access.WRITE: 2}
    assert codec_for(dict[Access, int]).through(value)[1] == value
    assert codec_for(dict[Access, None]).through({Access.READ: None})[1] == {Access.READ: None}


@attrs.frozen
class Fixed:
    name: str
    count: int | None = None


@attrs.frozen
class Nested:
    inner: Fixed
    ratio: float


@attrs.define
class Loose:
    name: str


@attrs.frozen
class Converts:
    name: str = attrs.field(converter=str.strip)


@attrs.frozen
class Holds:
    inner: Loose


@dataclasses.dataclass(frozen=True)
class FixedData:
    name: str


@pytest.mark.parametrize("value", [Fixed("a"), Nested(Fixed("a", 1), 0.5), FixedData("a"), "text", 1, None])
def test_what_can_neither_change_nor_come_back_otherwise_is_handed_on_as_it_is(value):
    text, seen = codec_for(type(value)).through(value)
    assert seen is value
    assert codec_for(type(value)).decode(text) == value


@pytest.mark.parametrize("value", [Loose("a"), Converts("a"), Holds(Loose("a"))])
def test_what_could_is_handed_on_as_a_replay_would_see_it(value):
    _, seen = codec_for(type(value)).through(value)
    assert seen == value
    assert seen is not value
