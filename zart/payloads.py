"""The payload codec: a hook through which every text that may hold users' values goes on its way into storage, and back.

What goes through it: inputs, step results, errors, events, outputs, failures, and the reasons why an execution is set aside or
failed. What does not, because storage has to find and order by it: ids, names of tasks, queues, steps and events, and times.

A text is marked when it has gone through a codec, so that it is never taken for another, nor another for it.
"""

import json
from typing import Protocol

from zart.errors import SealedPayload

SEALED = "zart-sealed:"
"""What a text in storage begins with that has gone through a payload codec. No JSON does."""
_CLOSED = SEALED + "!"
"""What a text begins with, in memory only, that stands for one that could not be opened; the rest says why."""
UNREADABLE = "cannot be read: "
"""What a text begins with, in memory only, that stands for one whose bytes are no text; the rest says why. No JSON does."""
_LONGEST_LABEL = 80


class PayloadCodec(Protocol):
    """Turns payloads into what storage keeps, and back. `zart.sealing.Sealed` encrypts; one of your own may do anything else.

    Both methods are called on the event loop, and by the heartbeat's thread: they must neither block nor keep state. `place`
    says where the text stands, in the same words when it is sealed and when it is opened: made part of what is authenticated,
    it keeps a text from being moved. It is unique but for runs of one id: inputs of the same task and events of the same name
    may be exchanged between them.
    """

    @property
    def allow_plain(self) -> bool:
        """Whether to take texts that went through no codec, such as those from before there was one."""
        ...

    def seal(self, text: str, place: str) -> str:
        """Return what is to be stored."""
        ...

    def open(self, sealed: str, place: str) -> str:
        """Return the text that was sealed.

        Raises:
            Exception: it cannot be had now; the execution is set aside with what the error says, and nothing is lost.
        """
        ...


def place_of(*parts: str | int) -> str:
    """Return the words for a place: different ones for different parts."""
    return json.dumps(parts)


def seal(codec: PayloadCodec, text: str, place: str) -> str:
    """Return a text as it is stored."""
    return SEALED + codec.seal(text, place)


def open_sealed(codec: PayloadCodec, text: str, place: str) -> str:
    """Return a stored text as it was.

    Raises:
        SealedPayload: it cannot be opened, or was not sealed and must be.
    """
    if not text.startswith(SEALED):
        if codec.allow_plain or text.startswith(UNREADABLE):  # which cannot be taken for a value, and says what is wrong
            return text
        raise SealedPayload(
            "is not sealed: whoever wrote it had no payload codec; let the codec here allow plain text (allow_plain=True, "
            "ZART_PAYLOAD_ALLOW_PLAIN=1) if you trust who it was, or cancel the execution"
        )
    try:
        return codec.open(text.removeprefix(SEALED), place)
    except SealedPayload:
        raise
    except Exception as error:
        # The class only: what a foreign error says may hold a part of the text.
        raise SealedPayload(f"could not be opened: the payload codec failed with {type(error).__name__}; mend it") from error


def closed(why: SealedPayload) -> str:
    """Return a text to stand for one that cannot be opened: whoever decodes it is told why."""
    return f"{_CLOSED}{why}"


def why_sealed(text: str) -> str | None:
    """Return why a text cannot be read, if that is because of a payload codec; worded to follow the name of the text."""
    if not text.startswith(SEALED):
        return None
    if text.startswith(_CLOSED):
        return text.removeprefix(_CLOSED)
    label = text.removeprefix(SEALED).rpartition(":")[0]
    key = f" ({label})" if 0 < len(label) <= _LONGEST_LABEL else ""
    return f"is sealed{key} and there is no payload codec here; give connect(payload_codec=...), or set ZART_PAYLOAD_KEYS"
