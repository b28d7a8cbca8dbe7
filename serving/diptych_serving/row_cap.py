"""How many rows go through the UNet at once: measured on the device at hand, when the deployment does not say it."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch

from diptych_diffusion.components import Components
from diptych_diffusion.drawings import in_torch
from diptych_diffusion.held import Backend
from diptych_diffusion.sampler import SampleRequest, sample

FIRST: Final = 2
"""One guided picture."""
LEAST: Final = 4
"""A guided comparison of two arms goes through the UNet at once, wherever that fits."""
MOST: Final = {"cpu": 16, "mps": 16, "cuda": 64}
GAIN: Final = 0.05
"""Less than this share of a row's time is no gain, but noise, and more rows make everybody wait longer."""
REPEATS: Final = 2
BUDGET_S: Final = 3.0
MEMORY_SHARE: Final = 0.8
"""Of a GPU's memory; the rest is for adapters, larger pictures and decoding."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowProfile:
    """Seconds of a forward pass by its rows; ``is_cut`` when more rows had no room in memory."""

    seconds: Mapping[int, float]
    is_cut: bool = False

    @property
    def gains(self) -> bool:
        """Whether the last doubling made a row cheaper."""
        *_, before, last = (float("inf"), float("inf"), *self.per_row().values())
        return last < before * (1 - GAIN) or len(self.seconds) < 2  # noqa: PLR2004 - two are compared

    @property
    def rows(self) -> int:
        """The fewest rows that are about as cheap, each, as the cheapest that were seen."""
        per_row = self.per_row()
        if not per_row:
            return 1
        enough = min(per_row.values()) * (1 + GAIN)
        cheap = min(rows for rows, seconds in per_row.items() if seconds <= enough)
        return min(max(cheap, LEAST), max(per_row)) if self.is_cut else max(cheap, LEAST)

    def per_row(self) -> dict[int, float]:
        """Return the seconds of one row, by rows that go together."""
        return {rows: seconds / rows for rows, seconds in sorted(self.seconds.items())}

    def __str__(self) -> str:
        return ", ".join(f"{rows}: {1000 * seconds:.3g} ms a row" for rows, seconds in self.per_row().items())


def rows_at_once(components: Components, wanted: int | None, backend: Backend | None = None) -> int:
    """Return the rows that are wanted, or as many as pay on this device. Draws a picture first, to warm up."""
    height, width = components.picture_size
    sample(components, SampleRequest(prompts=("",), seeds=(0,), steps=1))
    if wanted is not None:
        if backend is not None:
            _seconds(components, FIRST, backend)
        return wanted
    profile = measure(components, backend)
    _log.info("Rows of a forward at %d×%d: %s. %d are used.", width, height, profile, profile.rows)
    return profile.rows


def measure(components: Components, backend: Backend | None = None, *, budget_s: float = BUDGET_S) -> RowProfile:
    """Time forward passes of 2, 4, 8 … rows of the base's own size, while that pays, fits and takes not too long.

    The first is always timed, so that a slow base on a CPU takes a little longer than ``budget_s``.
    """
    device, started = components.denoiser.device, time.monotonic()
    profile, rows = RowProfile({}), FIRST
    while rows <= MOST[device.type] and profile.gains:
        try:
            seconds = _seconds(components, rows, backend)
        except torch.OutOfMemoryError:
            torch.accelerator.empty_cache()
            return RowProfile(profile.seconds, is_cut=True)
        profile = RowProfile({**profile.seconds, rows: seconds})
        if not _fits_twice(device):
            return RowProfile(profile.seconds, is_cut=True)
        next_one_s = 2 * seconds * (1 + REPEATS)
        if time.monotonic() - started + next_one_s > budget_s:
            break
        rows *= 2
    return profile


@torch.inference_mode()
def _seconds(components: Components, rows: int, backend: Backend | None) -> float:
    """Return the time of the fastest of some forward passes, after one that does not count."""
    unet = components.denoiser
    way = backend or partial(in_torch, unet, None)
    height, width = (side // components.pixels_per_latent for side in components.picture_size)
    like = {"device": unet.device, "dtype": unet.dtype}
    inputs_RChw = torch.zeros((rows, components.latent_channels, height, width), **like)
    embeddings_RLD = torch.zeros((rows, components.max_tokens, components.embedding_dim), **like)
    times = []
    for _ in range(1 + REPEATS):
        started = time.monotonic()
        way(inputs_RChw, torch.ones(rows, device=unet.device), embeddings_RLD, ())
        if unet.device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.monotonic() - started)
    return min(times[1:])


def _fits_twice(device: torch.device) -> bool:
    """Whether twice the rows of the last forward pass have room in a GPU's memory."""
    if device.type != "cuda":
        return True
    held, peak = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    _, total = torch.cuda.mem_get_info(device)
    return held + 2 * (peak - held) <= MEMORY_SHARE * total
