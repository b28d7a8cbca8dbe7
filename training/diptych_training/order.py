"""Which sample is seen when: the same for every number of workers, and at every restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from diptych_diffusion.draws import permutation
from diptych_training.data.captions import caption_index, expand
from diptych_training.data.manifest import Entry


@dataclass(frozen=True, slots=True)
class Visit:
    """One sample as it is seen once: its picture, one caption and the epoch, which keys every random draw."""

    entry: Entry
    caption: str
    epoch: int

    @property
    def key(self) -> str:
        """Return what tells this visit from every other of the same epoch."""
        return f"{self.entry.key}\n{self.caption}"


class Order:
    """The endless, seeded sequence of visits; position p belongs to epoch p // len(order)."""

    def __init__(self, entries: Sequence[Entry], policy: str, seed: int) -> None:
        self.policy = policy
        self.seed = seed
        self._entries = expand(entries, policy)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        """Return the number of visits of one epoch."""
        return len(self._entries)

    def _shuffle(self, epoch: int) -> list[int]:
        return permutation(len(self), self.seed, "order", epoch)

    def visit(self, position: int) -> Visit:
        """Return the visit at ``position``, counted from 0 over the whole run."""
        epoch, offset = divmod(position, len(self))
        entry = self._entries[self._epoch(epoch)[offset]]
        index = caption_index(self.seed, epoch, entry.key, len(entry.captions), self.policy)
        return Visit(entry, entry.captions[index], epoch)

    def batch(self, step: int, size: int) -> list[Visit]:
        """Return the visits of optimiser step ``step``, counted from 0. Batches run on across epochs."""
        return [self.visit(step * size + i) for i in range(size)]


def shard(size: int, rank: int, world: int) -> range:
    """Return which of ``size`` positions of a batch belong to ``rank``; sizes differ by one at most."""
    return range(size * rank // world, size * (rank + 1) // world)
