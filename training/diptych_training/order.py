"""Which sample is seen when: the same for every number of workers, and at every restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from diptych_api.dataset import Image
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.draws import permutation
from diptych_training.data.buckets import Blocks, Shape, grouped, shapes_of
from diptych_training.data.captions import caption_index, expand
from diptych_training.data.entry import Entry, Manifest


@dataclass(frozen=True, slots=True)
class Visit:
    """One sample as it is seen once: its picture, one caption and the epoch, which keys every random draw."""

    entry: Entry
    caption: str
    epoch: int
    shape: Shape | None = None
    """Width and height that its picture is brought to; None where all are squares."""

    @property
    def key(self) -> str:
        """Return what tells this visit from every other of the same epoch."""
        return f"{self.entry.key}\n{self.caption}"


class Order:
    """The endless, seeded sequence of visits; position p belongs to epoch p // len(order).

    With aspect buckets every epoch is arranged so that steps of ``batch_size`` see one shape each. Only what is left
    over of the buckets shares steps, so that each picture is still seen once an epoch and no step is short.
    """

    def __init__(
        self, entries: Sequence[Entry], policy: str, seed: int, image: Image | None = None, batch_size: int = 1
    ) -> None:
        self.policy = policy
        self.seed = seed
        self.batch_size = batch_size
        self._entries = expand(entries, policy)
        self._shapes = shapes_of([entry.size for entry in self._entries], image)
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        """Return the number of visits of one epoch."""
        return len(self._entries)

    def _shuffle(self, epoch: int) -> list[int]:
        shuffled = permutation(len(self), self.seed, "order", epoch)
        shapes = self._shapes
        if shapes is None:
            return shuffled
        groups = grouped(shuffled, lambda index: shapes[index])
        blocks = Blocks.of(groups, self.batch_size, begun=-epoch * len(self) % self.batch_size)
        return blocks.in_order(permutation(len(blocks), self.seed, "blocks", epoch))

    def visit(self, position: int) -> Visit:
        """Return the visit at ``position``, counted from 0 over the whole run."""
        epoch, offset = divmod(position, len(self))
        place = self._epoch(epoch)[offset]
        entry = self._entries[place]
        index = caption_index(self.seed, epoch, entry.key, len(entry.captions), self.policy)
        return Visit(entry, entry.captions[index], epoch, None if self._shapes is None else self._shapes[place])

    def batch(self, step: int, size: int) -> list[Visit]:
        """Return the visits of optimiser step ``step``, counted from 0. Batches run on across epochs."""
        return [self.visit(step * size + i) for i in range(size)]


def shard(size: int, rank: int, world: int) -> range:
    """Return which of ``size`` positions of a batch belong to ``rank``; sizes differ by one at most."""
    return range(size * rank // world, size * (rank + 1) // world)


def total_steps(spec: FineTuneJobSpec, visits_per_epoch: int) -> int:
    """Return the length of the run in optimiser steps."""
    if spec.training.epochs is not None:
        return -(-spec.training.epochs * visits_per_epoch // spec.training.batch_size)
    return spec.training.steps or 1000


def order_of(spec: FineTuneJobSpec, manifest: Manifest) -> Order:
    """Return the sequence in which the training samples are seen."""
    policy, training = spec.dataset.caption_policy, spec.training
    return Order(manifest.train, policy, training.seed, spec.dataset.image, training.batch_size)
