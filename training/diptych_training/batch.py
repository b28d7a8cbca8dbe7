"""Training batches as tensors: latents, noise, timesteps and captions of each visit.

Shape letters: B samples, C latent channels, H and W latent sides, L tokens, D text width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diptych_diffusion.draws import Part, noise, seed64, timestep, uniform
from diptych_diffusion.schedule import LossWeighting, NoiseSchedule
from diptych_training.live import Latents
from diptych_training.order import Visit

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward pass needs; tensors are fp32, ``t_B`` and token ids int64."""

    noisy_BCHW: Tensor
    target_BCHW: Tensor
    t_B: Tensor
    weight_B: Tensor
    text: Tensor
    """Embeddings ``[B, L, D]``, or token ids ``[B, L]`` when the text encoder is trained."""
    keys_B: Tensor
    """A 63-bit number of each visit, from which its dropout follows."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on ``device``; where it is pinned, the copy does not wait for the GPU."""
        moved = {f: getattr(self, f).to(device, non_blocking=True) for f in self.__slots__}
        return replace(self, **moved)

    def pinned_for(self, device: torch.device) -> "Batch":
        """Return the batch in memory that a GPU copies from by itself; as it is where ``device`` is none."""
        if device.type != "cuda":
            return self
        return replace(self, **{f: getattr(self, f).pin_memory() for f in self.__slots__})


@dataclass(frozen=True)
class BatchMaker:
    """Builds batches from latents. Every draw is keyed by seed, epoch and sample, never by rank or order."""

    latents: Latents
    schedule: NoiseSchedule
    text: Callable[[Sequence[str]], Tensor]
    """Captions to embeddings or token ids, on the CPU."""
    scaling_factor: float
    shift_factor: float
    seed: int
    flip: bool = False
    caption_dropout: float = 0.0
    weighting: LossWeighting = "None"
    gamma: float = 5.0

    def training(self, visits: Sequence[Visit]) -> Batch:
        """Return the batch of these visits with their own noise, timesteps, flips and caption dropout."""
        draws = [(self.seed, visit.epoch, visit.key) for visit in visits]
        t = [timestep(self.schedule.num_train_timesteps, *d, "timestep") for d in draws]
        flipped = [self.flip and uniform(*d, "flip") < HALF for d in draws]
        dropped = [uniform(*d, "caption") < self.caption_dropout for d in draws]
        captions = ["" if drop else visit.caption for visit, drop in zip(visits, dropped, strict=True)]
        return self._batch(visits, draws, t, flipped, captions)

    def validation(self, visits: Sequence[Visit], draw: int, draws_total: int) -> Batch:
        """Return the batch whose timesteps lie in stratum ``draw`` of ``draws_total``; the same at every call."""
        draws = [(self.seed, "validation", visit.key, draw) for visit in visits]
        span = self.schedule.num_train_timesteps / draws_total
        t = [int((draw + uniform(*d, "timestep")) * span) for d in draws]
        batch = self._batch(visits, draws, t, [False] * len(visits), [visit.caption for visit in visits])
        return replace(batch, weight_B=torch.ones(len(visits)))

    def _batch(
        self,
        visits: Sequence[Visit],
        draws: Sequence[tuple[Part, ...]],
        t: Sequence[int],
        flipped: Sequence[bool],
        captions: Sequence[str],
    ) -> Batch:
        clean = []
        for visit, key, flip in zip(visits, draws, flipped, strict=True):
            mean, logvar = self.latents.latent(visit.entry.sha256, flip)
            mean, logvar = mean.float(), logvar.float()
            sample = mean + torch.exp(0.5 * logvar) * noise(mean.shape, *key, "posterior")
            clean.append((sample - self.shift_factor) * self.scaling_factor)
        x_BCHW = torch.stack(clean)
        noise_BCHW = torch.stack([noise(x_BCHW.shape[1:], *key, "noise") for key in draws])
        t_B = torch.tensor(t)
        return Batch(
            noisy_BCHW=self.schedule.add_noise(x_BCHW, noise_BCHW, t_B),
            target_BCHW=self.schedule.target(x_BCHW, noise_BCHW, t_B),
            t_B=t_B,
            weight_B=self.schedule.loss_weight(t_B, self.weighting, self.gamma),
            text=self.text(captions),
            keys_B=torch.tensor([seed64(*key, "dropout") >> 1 for key in draws]),
        )
