"""Which shard an id belongs to: the map from buckets to shards, how it is told, and how it is compared.

The hash and the number of buckets never change: they decide where an execution is looked for years from now. What may change,
with the executions moved along, is which shard a bucket is on.
"""

from collections.abc import Sequence
from hashlib import blake2b

from attrs import evolve, field, frozen

from zart.errors import SchemaMismatch
from zart.places import Place

BUCKETS = 1024
_HASH = "blake2b-64"


def bucket_of(execution_id: str) -> int:
    """Return the bucket of an id: the same in every process, on every machine, in every version."""
    digest = blake2b(execution_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def _known(buckets: Sequence[int]) -> tuple[int, ...]:
    found = tuple(buckets)
    if len(found) != BUCKETS:
        raise ValueError(f"buckets must say a shard for each of {BUCKETS} buckets, not for {len(found)}")
    return found


@frozen
class Map:
    """Buckets to shards. `cluster` is drawn once and tells shards of one storage from those of another with the same map."""

    shards: int
    buckets: tuple[int, ...] = field(converter=_known)
    cluster: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse shards that there are not."""
        if odd := sorted(set(self.buckets) - set(range(self.shards))):
            raise ValueError(f"buckets names shard {odd[0]!r}, but there are shards 0 to {self.shards - 1}")

    @classmethod
    def even(cls, shards: int) -> "Map":
        """Return the map that gives every shard as many buckets as the others, or one more."""
        return cls(shards, tuple(bucket % shards for bucket in range(BUCKETS)))

    def shard_of(self, execution_id: str) -> int:
        """Return the number of an id's shard."""
        return self.buckets[bucket_of(execution_id)]

    def told(self, shard: int) -> str:
        """Return what is kept on a shard: the whole map, and which of its shards this is."""
        return str(Place(self.cluster, shard, self.shards, _HASH, self.buckets))

    def of(self, cluster: str) -> "Map":
        """Return this map, as one of a cluster."""
        return evolve(self, cluster=cluster)

    def of_cluster(self, told: str) -> "Map":
        """Return this map, as one of the cluster that a shard tells of."""
        return self.of(Place.of(told).cluster)

    def check(self, told: str, shard: int, place: object) -> None:
        """Make sure that a shard was given this map, and this place in it.

        Raises:
            SchemaMismatch: it has another.
        """
        if told == self.told(shard):
            return
        kept = Place.of(told)
        said = f"shard {shard} of {self.shards}, {place!r}, "
        if kept.shards != self.shards or kept.hash != _HASH:
            found = f"was set up as one of {kept.shards} shards with the hash {kept.hash}, not of {self.shards} with {_HASH}"
        elif kept.shard != shard:
            found = f"was set up as shard {kept.shard}; give the shards in their order, each once"
        elif kept.cluster != self.cluster:
            found = "belongs to other shards than the first of these; give those that were set up together"
        else:
            moved = [bucket for bucket in range(BUCKETS) if kept.buckets[bucket] != self.buckets[bucket]]
            found = f"was set up with another map: bucket {moved[0]} is one of {len(moved)} that were on another shard"
        raise SchemaMismatch(f"{said}{found}; nothing is served with a map that is not the stored one")
