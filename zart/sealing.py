"""Encryption of payloads with AES-256-GCM, and rotation of its keys. Needs the extra `crypto`.

    connect(url, payload_codec=Sealed({"2026-07": newest, "2026-01": older}))

A sealed text names its key, so that all known keys read and the first one writes. What it is sealed with includes the place
where it stands: in any other row or column it does not open, and neither does it after a change. The nonce is 96 random bits
for each text; two of one key would meet, at odds of one in four billion, after four billion texts: rotate keys before that.
"""

import binascii
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from zart.errors import SealedPayload
from zart.ids import secret_bytes

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ModuleNotFoundError as _absent:
    raise ModuleNotFoundError("encryption needs the library cryptography; pip install 'zart-durable[crypto]'") from _absent

KEY = 32
"""Bytes of a key."""
NONCE = 12
FORM = "1"
"""How a sealed text is made up: its form, its key's name, and nonce and ciphertext in base64, with colons between."""
KEYS, KEYS_FILE, PLAIN = "ZART_PAYLOAD_KEYS", "ZART_PAYLOAD_KEYS_FILE", "ZART_PAYLOAD_ALLOW_PLAIN"
"""The variables that `Sealed.from_environment` reads."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_key() -> str:
    """Return a new key, as base64 text.

    Example:
        >>> len(new_key())
        44
    """
    return b64encode(secret_bytes(KEY)).decode("ascii")


class Sealed:
    """A payload codec that encrypts. The first key writes, all of them read.

    Args:
        keys: names to keys, each of 32 bytes or their base64 text. Names may be seen by anybody: they stand in every row.
        allow_plain: whether to take texts that were never sealed, as those from before encryption was turned on. Whoever can
            write rows can then write plain ones.

    Raises:
        ValueError: no key, or one with a name or of a length that it cannot have.
    """

    def __init__(self, keys: Mapping[str, bytes | str], *, allow_plain: bool = False) -> None:
        if not keys:
            raise ValueError("Sealed needs a key; make one with zart.sealing.new_key()")
        self.allow_plain: bool = allow_plain
        self._ciphers = {_named(name): AESGCM(_key(name, key)) for name, key in keys.items()}
        self._writes = next(iter(self._ciphers))
        self._cipher = self._ciphers[self._writes]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Sealed | None":
        """Return what the environment asks for; None where it names no keys.

        `ZART_PAYLOAD_KEYS` is `name=base64`, several with commas or line breaks between them, the writing one first;
        `ZART_PAYLOAD_KEYS_FILE` a file with the same; `ZART_PAYLOAD_ALLOW_PLAIN=1` allows plain text.

        Raises:
            ValueError: one of them cannot be read. No message shows a key.
        """
        text, file, plain = (environment.get(name, "") for name in (KEYS, KEYS_FILE, PLAIN))
        if text and file:
            raise ValueError(f"{KEYS} and {KEYS_FILE} are both set; set one of them")
        if plain not in {"", "0", "1"}:
            raise ValueError(f"{PLAIN} must be 1 or 0, not {plain!r}")
        if file:
            try:
                text = Path(file).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{KEYS_FILE} names {file!r}, which cannot be read: {type(error).__name__}") from None
        if not text.strip():
            if file or plain == "1":
                raise ValueError(f"there is no key in {KEYS_FILE if file else KEYS}; write name=base64")
            return None
        return cls(_listed(text), allow_plain=plain == "1")

    def __repr__(self) -> str:
        """Name the keys, and show none."""
        return f"Sealed({', '.join(self._ciphers)})"

    def seal(self, text: str, place: str) -> str:
        """Return the text, encrypted for its place."""
        nonce = secret_bytes(NONCE)
        closed = self._cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound(self._writes, place))
        return f"{FORM}:{self._writes}:{b64encode(nonce + closed).decode('ascii')}"

    def open(self, sealed: str, place: str) -> str:
        """Return the text.

        Raises:
            SealedPayload: its key is not known, or it was changed or moved.
        """
        form, _, rest = sealed.partition(":")
        name, _, code = rest.partition(":")
        if form != FORM:
            raise SealedPayload("is sealed in a form that this version does not know; use the codec that wrote it")
        cipher = self._ciphers.get(name)
        if cipher is None:
            known = ", ".join(self._ciphers)
            raise SealedPayload(f"is sealed with key {name[:64]!r}, which is not among the known ({known}); add it to them")
        try:
            raw = binascii.a2b_base64(code, strict_mode=True)
            return cipher.decrypt(raw[:NONCE], raw[NONCE:], _bound(name, place)).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            why = "it was changed, stands where it was not written, or was sealed with another key of that name"
            raise SealedPayload(f"does not open with its key {name!r}: {why}; put it back, or the key") from None


def _bound(name: str, place: str) -> bytes:
    return f"{FORM}:{name}:{place}".encode()


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a key's name must have 1 to 64 letters, digits and . _ -, not {name!r}")
    return name


def _key(name: str, key: bytes | str) -> bytes:
    if isinstance(key, str):
        try:
            key = b64decode(key.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"key {name!r} is no base64; make one with zart.sealing.new_key()") from None
    if len(key) != KEY:
        raise ValueError(f"key {name!r} has {len(key)} bytes instead of {KEY}; make one with zart.sealing.new_key()")
    return key


def _listed(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        name, equals, key = (each.strip() for each in part.partition("="))
        if not equals or not key or not _NAME.fullmatch(name):
            # Not shown: it may be a key without its name.
            raise ValueError(f"one part of {KEYS} is not name=base64; write several with commas between them")
        if name in keys:
            raise ValueError(f"{KEYS} gives key {name!r} twice; give it once")
        keys[name] = key
    return keys
