"""Loss on held-out samples with fixed noise and stratified timesteps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
import torch.distributed as dist

from diptych_training.batch import BatchMaker
from diptych_training.data.buckets import grouped
from diptych_training.order import Visit, shard
from diptych_training.step import sample_losses
from diptych_training.trainee import Trainee

CHUNK = 32


class StopAsked(Exception):  # noqa: N818 -- no error: somebody wants the run to stop
    """A validation was given up because one of the workers was asked to stop."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Which worker this is, of how many."""

    rank: int = 0
    world: int = 1


ALONE = Seat()


@torch.no_grad()
def validation_losses(
    trainee: Trainee,
    maker: BatchMaker,
    visits: Sequence[Visit],
    draws: int,
    seat: Seat = ALONE,
    wants_stop: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Return the mean loss of each visit over ``draws`` timesteps, the same list on every worker.

    Noise and timesteps depend on the sample and the draw alone, so two calls differ by the weights and nothing else.

    Raises:
        StopAsked: on all workers, as soon as one of them is asked to stop.

    """
    losses = torch.zeros(len(visits), device=trainee.device)
    mine = shard(len(visits), seat.rank, seat.world)
    trainee.train(on=False)
    try:
        for number in range(_chunks(len(visits), seat.world)):
            start = mine.start + number * CHUNK
            chunk = range(start, min(start + CHUNK, mine.stop))
            alike = grouped(chunk, lambda place: visits[place].shape)
            for draw in range(draws):
                _give_up_together(trainee.device, seat, asked=wants_stop())
                for places in alike:
                    batch = maker.validation([visits[place] for place in places], draw, draws).to(trainee.device)
                    losses[places] += sample_losses(trainee, batch) / draws
    finally:
        trainee.train(on=True)
    if dist.is_initialized() and seat.world > 1:
        dist.all_reduce(losses)
    values: list[float] = losses.tolist()
    return values


def _chunks(visits: int, world: int) -> int:
    """Return the chunks of the longest share: all workers go round equally often, or they would miss each other."""
    return ceil(ceil(visits / world) / CHUNK)


def _give_up_together(device: torch.device, seat: Seat, *, asked: bool) -> None:
    if dist.is_initialized() and seat.world > 1:
        wish = torch.tensor(float(asked), device=device)
        dist.all_reduce(wish, op=dist.ReduceOp.MAX)
        asked = bool(wish.item())
    if asked:
        raise StopAsked
