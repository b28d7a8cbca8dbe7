"""The mixed trace: half comparisons, a third one of five adapters, a fifth the base; 20, 30 or 50 steps."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diptych_diffusion.drawing_settings import Settings
from diptych_serving.image_request import Arm, ImageRequest

ADAPTERS: Final = tuple(f"style-{number}" for number in range(1, 6))
STEPS: Final = (20, 30, 50)
COMPARISONS, ADAPTED = 0.5, 0.8
"""Draws below the first are comparisons, below the second one adapter, the rest the base."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request and when it comes, in seconds from the start."""

    at_s: float
    request: ImageRequest


def mixed_requests(count: int, pixels: int, *, guidance: float = 7.5, seed: int = 0) -> list[ImageRequest]:
    """Return requests as they come, the same for the same arguments; adapters are chosen by Zipf's law."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    weights = [1 / rank for rank in range(1, len(ADAPTERS) + 1)]
    requests = []
    for number in range(count):
        adapter = Arm(drawn.choices(ADAPTERS, weights)[0])
        kind, steps = drawn.random(), drawn.choice(STEPS)
        arms = (Arm(), adapter) if kind < COMPARISONS else (adapter,) if kind < ADAPTED else (Arm(),)
        settings = Settings(pixels, pixels, steps, guidance)
        requests.append(ImageRequest(f"picture {number % 16}", number, settings, arms=arms))
    return requests


def poisson(requests: Sequence[ImageRequest], rate: float, *, seed: int = 1) -> list[Arrival]:
    """Return the requests with arrival times, ``rate`` in a second on average."""
    drawn, now, arrivals = random.Random(seed), 0.0, []  # noqa: S311 - as above
    for request in requests:
        now += drawn.expovariate(rate)
        arrivals.append(Arrival(now, request))
    return arrivals


def at_once(requests: Sequence[ImageRequest]) -> list[Arrival]:
    """Return the requests, all there from the start."""
    return [Arrival(0.0, request) for request in requests]
