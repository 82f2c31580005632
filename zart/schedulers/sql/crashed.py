"""The workers that died over an execution, as one column holds them: a JSON list of their ids."""

from typing import Any

import msgspec

_LIST: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


def workers(stored: Any) -> tuple[str, ...]:
    """Return the workers that a column names.

    Raises:
        ValueError: it is no list of texts.
        TypeError: it is neither text nor bytes.
    """
    return _LIST.decode(stored)
