"""The payload codec that the environment asks for: for every command that opens a database."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from zart.cli.errors import Exit, Refused, without_extra
from zart.payloads import PayloadCodec

OWN = "ZART_PAYLOAD_CODEC"
"""Names a payload codec of one's own, as package.module:name."""
KEYS = ("ZART_PAYLOAD_KEYS", "ZART_PAYLOAD_KEYS_FILE", "ZART_PAYLOAD_ALLOW_PLAIN")
"""What `zart.sealing` reads; it is not imported where none is set."""


def payload_codec(environment: Mapping[str, str] = os.environ) -> PayloadCodec | None:
    """Return the codec that the environment asks for, None if it asks for none.

    Raises:
        Refused: (78) it asks for two, or for one that cannot be had.
    """
    own, keys = environment.get(OWN), [name for name in KEYS if environment.get(name)]
    if own and keys:
        raise _refused(f"{OWN} and {keys[0]} are both set", f"set {OWN} for a codec of your own, or {KEYS[0]} for Zart's")
    try:
        if own:
            return _own(own)
        found: PayloadCodec | None = import_module("zart.sealing").Sealed.from_environment(environment) if keys else None
    except (ValueError, ModuleNotFoundError) as error:
        if (missing := without_extra(error)) is not None:
            raise Refused.of(missing) from error
        message, _, mend = str(error).rpartition("; ")
        raise _refused(message or mend, mend) from error
    return found


def _own(name: str) -> PayloadCodec:
    module, _, path = name.partition(":")
    if not module or not path:
        raise _refused(f"{OWN} is {name!r}", "write package.module:name")
    folder = os.getcwd()  # noqa: PTH109 # an entry of the path is text
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise _refused(f"{name!r} cannot be had: {type(error).__name__}: {error}", f"{OWN} names a codec") from error
    if not all(hasattr(found, each) for each in ("seal", "open", "allow_plain")):
        raise _refused(f"{name!r} is no payload codec", "it needs seal, open and allow_plain, see zart.payloads.PayloadCodec")
    return cast("PayloadCodec", found)


def _refused(message: str, hint: str) -> Refused:
    return Refused("bad_payload_codec", message, hint, Exit.CONFIGURATION)
