"""Randomness and identifiers: the port, its real implementation, and the rules for names and numbers."""

import os
import random
import sys
import unicodedata
import uuid
from collections.abc import Callable
from typing import Protocol

if sys.version_info >= (3, 14):
    from uuid import uuid7 as _uuid7
else:
    from uuid_utils.compat import uuid7 as _uuid7

LONGEST_NAME = 255
LARGEST_NUMBER = 2**31 - 1
"""Of what users count, such as runs: what a column of PostgreSQL and of MySQL holds."""
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Randomness(Protocol):
    """The only source of chance; a simulation seeds it."""

    def uuid(self) -> uuid.UUID:
        """Return a new UUIDv7."""
        ...

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


class SystemRandomness:
    """Chance from the operating system."""

    def __init__(self) -> None:
        self.random: Callable[[], float] = random.SystemRandom().random

    def uuid(self) -> uuid.UUID:
        """Return a new UUIDv7."""
        return _uuid7()


def secret_bytes(count: int) -> bytes:
    """Return bytes that nobody can guess: for keys, and for what must never be used twice with one.

    No part of `Randomness`: a seeded nonce would give away what it is to protect.
    """
    return os.urandom(count)


def check_name(name: str, what: str) -> str:
    """Return a name, id or key that keeps the rule: text of 1 to 255 characters without control characters.

    Raises:
        TypeError: not text.
        ValueError: empty, too long, or with a control or format character, a line separator or a lone surrogate.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be text, not {type(name).__name__}")
    if name.isascii() and name.isprintable() and 0 < len(name) <= LONGEST_NAME:
        return name
    if not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"{what} must have 1 to {LONGEST_NAME} characters, not {len(name)}")
    for position, character in enumerate(name):
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise ValueError(f"{what} {name!r} has a control or format character at position {position}; use printable text")
    return name


def check_number(number: int, what: str, least: int = 1) -> int:
    """Return a number that keeps the rule: whole, not below `least`, and not above what any database holds; a bool is none.

    Raises:
        ValueError: anything else.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"{what} must be a whole number from {least}, not {number!r}")
    if number > LARGEST_NUMBER:
        raise ValueError(f"{what} must be at most {LARGEST_NUMBER}, not {number!r}")
    return number
