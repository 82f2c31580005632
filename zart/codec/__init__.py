"""Values as they cross into storage, and back exactly as they were.

Every input, step result, event and output goes through a codec on the first run too, so that what a step returns is what a
replay would return. A codec is built from a declared type; where nothing is declared only JSON's own values are taken. Nothing
is pickled, no class is found by a name in stored data, and what could not come back equal and of the same types is refused.

In JSON a value looks as anybody would write it: an object per class, enums by value, ISO 8601 for times and lengths of time,
text for `Decimal`, `UUID` and paths, base64 for bytes, a list for sets and tuples, a list of pairs for dicts whose keys are not
text. What JSON cannot say is tagged (`zart.codec.text`). `ANY` shows the tags of other types as they stand, so that it reads
whatever was saved.

An `int` is taken where `float` is declared, as PEP 484 has it, if a float equals it; the first run sees the float, too. An
aware `datetime` keeps its offset, not the name of its zone.
"""

from zart.codec.classes import UnresolvedType, substituted
from zart.codec.codec import ANY, Codec, check_size, codec_for
from zart.codec.returns import parameter_type, return_type

__all__ = [
    "ANY",
    "Codec",
    "UnresolvedType",
    "check_size",
    "codec_for",
    "parameter_type",
    "return_type",
    "substituted",
]
