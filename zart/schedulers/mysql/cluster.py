"""A cluster of nodes that all take writes, such as Galera: what must be said differently there.

The nodes do not know of each other's locks. A transaction goes to the others when it commits, and fails then with error 1213
if a row that it *changes* was changed by one that came before it in the cluster's one order. So what a lock is enough for
elsewhere must be a change there: whoever writes steps of an execution changes its row too, and so meets a takeover that its
node has not heard of. And a node may be behind the others, so whatever reads waits until it has applied all that was committed
before.
"""

from attrs import frozen

from zart.clock import SECOND, Instant

_HEADSTART = 5 * SECOND


@frozen
class Cluster:
    """How many nodes there are, and which of them this is. May be out of date: nothing but speed depends on it."""

    size: int
    place: int

    def rank(self, due_at: Instant, key: int) -> Instant:
        """Return when an execution is due as a claim of this node goes: those of other nodes' buckets five seconds later.

        So nodes do not all go for the same ones, of which only one could have them; and if nobody works at a node, its bucket
        is served by the others. Keys that one node gives are `size` apart.
        """
        return due_at if (key // self.size) % self.size == self.place else due_at + _HEADSTART
