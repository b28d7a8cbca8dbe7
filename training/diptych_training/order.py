"""Which sample is seen when: the same for every number of workers, and at every restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from diptych_diffusion.draws import permutation

from diptych_training.data.captions import caption_index
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


@dataclass(frozen=True)
class Order:
    """The endless, seeded sequence of visits; position p belongs to epoch p // len(samples)."""

    entries: Sequence[Entry]
    policy: str
    seed: int

    def __post_init__(self) -> None:
        """Expand captions once where the policy makes one sample of each."""
        pairs = [(e, i) for e in self.entries for i in range(len(e.captions) if self.policy == "All" else 1)]
        object.__setattr__(self, "_pairs", tuple(pairs))
        object.__setattr__(self, "_epoch", lru_cache(maxsize=2)(self._shuffle))

    def __len__(self) -> int:
        """Return the number of visits of one epoch."""
        return len(self._pairs)

    def _shuffle(self, epoch: int) -> list[int]:
        return permutation(len(self), self.seed, "order", epoch)

    def visit(self, position: int) -> Visit:
        """Return the visit at ``position``, counted from 0 over the whole run."""
        epoch, offset = divmod(position, len(self))
        entry, index = self._pairs[self._epoch(epoch)[offset]]
        if self.policy == "PerEpoch":
            index = caption_index(self.seed, epoch, entry.key, len(entry.captions), self.policy)
        return Visit(entry, entry.captions[index], epoch)

    def batch(self, step: int, size: int) -> list[Visit]:
        """Return the visits of optimiser step ``step``, counted from 0. Batches run on across epochs."""
        return [self.visit(step * size + i) for i in range(size)]


def shard(size: int, rank: int, world: int) -> range:
    """Return which of ``size`` positions of a batch belong to ``rank``; sizes differ by one at most."""
    return range(size * rank // world, size * (rank + 1) // world)
