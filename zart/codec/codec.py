"""The codec of a declared type: a value in, text out, and back."""

from collections.abc import Awaitable
from typing import Any

from zart.codec.shapes import name_of, shape_of
from zart.codec.text import TAG, Mismatch, read, show, too_deep, write
from zart.errors import DeserializationError, PayloadTooLarge, SealedPayload, UndeclaredType
from zart.payloads import UNREADABLE, why_sealed

_KEPT = 10_000
_RETURNED = ("the result", "the value")
_codecs: dict[Any, "Codec"] = {}
_unhashable: dict[int, tuple[Any, "Codec"]] = {}


class Codec:
    """Turns values of one declared type into JSON text and back. Get it from `codec_for`."""

    __slots__ = ("_constant", "_native", "_pack", "_unpack", "declared")

    def __init__(self, declared: Any) -> None:
        shape = shape_of(declared)
        self.declared: Any = declared
        self._pack = shape.pack
        self._unpack = shape.unpack
        self._constant = shape.constant
        self._native = declared is Any or declared is object

    def encode(self, value: Any, what: str = "the value") -> str:
        """Return a value as text; `what` names it in the error.

        Raises:
            UndeclaredType: it could not come back as it is: not of the declared type, or nested too deeply.
        """
        try:
            return write(self._pack(value))
        except Mismatch as error:
            wrong = error
        except RecursionError:
            wrong = too_deep()
        except BaseException as error:  # noqa: BLE001 # SystemExit too: attributes and hashes are users' code
            wrong = Mismatch("", value, f"cannot be read: {type(error).__name__}")
        raise _refusal(what, wrong)

    def decode(self, text: str, what: str = "data") -> Any:
        """Return the value that a text stands for; `what` names it in the error.

        Raises:
            DeserializationError: the text is no JSON or not of the declared type; the message has the path of the wrong field.
            SealedPayload: it went through a payload codec, and there is none here that opens it.
        """
        try:
            raw = read(text)
            # Without a tag in it, what JSON said is the value.
            return raw if self._native and TAG not in text else self._unpack(raw)
        except Mismatch as error:
            wrong = error
        except RecursionError:
            wrong = too_deep()
        except BaseException as error:  # noqa: BLE001 # SystemExit too: hashes and converters are users' code
            wrong = Mismatch("", None, f"cannot be read: {type(error).__name__}: {error}")
        if (why := why_sealed(text)) is not None:
            raise SealedPayload(f"{what} {why}")
        if text.startswith(UNREADABLE):
            raise DeserializationError(f"{what} {text}")
        said = f" {wrong.reason}" if wrong.reason else f": expected {wrong.expected}, found {show(wrong.value)}"
        raise DeserializationError(wrong.place(what) + said)

    def through(self, value: Any, what: str = "the value") -> tuple[str, Any]:
        """Return a value as text and as a replay would see it.

        Raises:
            UndeclaredType: as for `encode`, and if its own class does not take it back.
        """
        try:
            raw = self._pack(value)
            text = write(raw)
            # The text says the same raw form once more, and what is unpacked shares nothing with that which can change.
            return text, value if self._constant else self._unpack(raw)
        except BaseException:  # noqa: BLE001 # once more at leisure, for the words of the error
            text = self.encode(value, what)
        try:
            return text, self.decode(text, what)
        except DeserializationError as error:
            raise _refusal(what, Mismatch("", value, f"could not come back: {error}")) from error

    def __repr__(self) -> str:
        """Return how the codec is got."""
        return f"codec_for({name_of(self.declared)})"


def codec_for(declared: Any) -> Codec:
    """Return the codec of a declared type: always the same one. `Any` and `object` declare nothing.

    Raises:
        TypeError: the type, or one inside it, cannot be saved.
    """
    try:
        found = _codecs.get(declared)
    except TypeError:  # unhashable, such as Annotated[int, []]
        return _codec_for_unhashable(declared)
    if found is None:
        found = _codecs[declared] = Codec(declared)
    return found


def _codec_for_unhashable(declared: Any) -> Codec:
    kept = _unhashable.get(id(declared))
    if kept is not None:
        return kept[1]
    if len(_unhashable) >= _KEPT:  # made anew by each call: they would fill the memory
        _unhashable.clear()
    codec = Codec(declared)
    # The type is kept with it, or another one could get its id.
    _unhashable[id(declared)] = declared, codec
    return codec


ANY = codec_for(Any)
"""The codec of what nothing is declared about: None, bool, int, float, str, list, dict with text keys, exactly these types."""


def check_size(text: str, limit: int, what: str) -> None:
    """Refuse a text of more than `limit` bytes in UTF-8.

    Raises:
        PayloadTooLarge: it is larger.
    """
    # A character is at most four bytes, and one if all are ASCII, which Python knows without looking.
    if len(text) * 4 > limit:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if size > limit:
            raise PayloadTooLarge(what, size, limit)


def _refusal(what: str, wrong: Mismatch) -> UndeclaredType:
    place, kind = wrong.place(what), type(wrong.value)
    if issubclass(kind, Awaitable):
        mend = f"await it, and {_verb(what)} what comes of it"
        return _worded(UndeclaredType(place, kind.__name__, mend), f"{place} is a {kind.__name__} that was not awaited; {mend}")
    if wrong.reason:
        return _worded(UndeclaredType(place, kind.__name__, wrong.reason), f"{place} {wrong.reason}")
    if wrong.expected:
        mend = f"{_verb(what)} {wrong.expected}, or declare what it really is"
        said = f"{place} is of type {kind.__name__}, but {wrong.expected} is declared; {mend}"
        return _worded(UndeclaredType(place, kind.__name__, mend), said)
    return UndeclaredType(place, kind.__name__, _mend(kind, what, inside=bool(wrong.path)))


def _worded(error: UndeclaredType, message: str) -> UndeclaredType:
    """Return the error with a message of its own: what is declared is at odds with the value, not missing."""
    error.args = (message,)
    return error


def _verb(what: str) -> str:
    """Return what is done with a value of this name: only results are returned, inputs and payloads are given."""
    return "return" if what.startswith(_RETURNED) else "give"


def _mend(kind: type, what: str, *, inside: bool) -> str:
    verb = _verb(what)
    try:
        shape_of(kind)
    except TypeError:
        return f"a {kind.__name__} cannot be saved: {verb} JSON-like data, an attrs class or a dataclass instead"
    if verb == "give":
        return "give JSON-like data; other types are known to start_for by its handler, and of an event by the payload's class"
    if inside:
        return "declare the type of the whole: with returns=, or by annotating the function's return type"
    return f"declare it: returns={kind.__name__}, or annotate the function's return type"
