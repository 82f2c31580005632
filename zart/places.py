"""Several databases that are one: how their URLs are parted in what `connect` takes, and what each keeps of its place."""

import re
from collections.abc import Sequence

import msgspec

BETWEEN = re.compile(r"(\s*,\s*|\s+)(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
"""What parts two URLs: a comma or a space that another URL follows. Those inside of one stay: hosts, a file's name."""

MAP = "sharding"
"""The name under which each shard keeps its place."""


class Place(msgspec.Struct, frozen=True):
    """What a shard keeps: which of its storage's shards it is, and the whole map."""

    cluster: str
    shard: int
    shards: int
    hash: str
    buckets: Sequence[int]

    @classmethod
    def of(cls, kept: str) -> "Place":
        """Return what is kept.

        Raises:
            msgspec.DecodeError: it is no place.
        """
        return msgspec.json.decode(kept, type=cls)

    def __str__(self) -> str:
        """Return it as it is kept."""
        return msgspec.json.encode(self).decode()
