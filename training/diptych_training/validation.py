"""Loss on held-out samples with fixed noise and stratified timesteps."""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from diptych_training.batch import BatchMaker
from diptych_training.order import Visit, shard
from diptych_training.step import sample_losses
from diptych_training.trainee import Trainee

CHUNK = 32


@torch.no_grad()
def validation_losses(
    trainee: Trainee, maker: BatchMaker, visits: Sequence[Visit], draws: int, *, rank: int = 0, world: int = 1
) -> list[float]:
    """Return the mean loss of each visit over ``draws`` timesteps, the same list on every worker.

    Noise and timesteps depend on the sample and the draw alone, so two calls differ by the weights and nothing else.
    """
    losses = torch.zeros(len(visits), device=trainee.device)
    mine = shard(len(visits), rank, world)
    trainee.train(on=False)
    try:
        for start in range(mine.start, mine.stop, CHUNK):
            chunk = slice(start, min(start + CHUNK, mine.stop))
            for draw in range(draws):
                batch = maker.validation(visits[chunk], draw, draws).to(trainee.device)
                losses[chunk] += sample_losses(trainee, batch) / draws
    finally:
        trainee.train(on=True)
    if dist.is_initialized() and world > 1:
        dist.all_reduce(losses)
    values: list[float] = losses.tolist()
    return values
