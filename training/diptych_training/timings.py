"""What the times of a run say: which part of training takes most, and which setting would change that."""

from collections.abc import Iterator, Mapping
from typing import Final

from diptych_api.report import Spent

ADVICE: Final[Mapping[str, tuple[float, str]]] = {
    "data": (0.15, "batches come late: more spec.resources.cpusPerWorker, or training.cacheLatents: true"),
    "text": (0.25, "captions are encoded at every step: training.cacheTextEmbeddings: true where it is not trained"),
    "exchange": (0.3, "workers wait for each other: fewer of them, or a larger training.batchSize"),
    "optimiser": (0.3, "many weights for few pictures: a larger training.batchSize"),
    "logging": (0.1, "the driver or the machine is overloaded"),
    "validation": (0.25, "a larger training.validation.everySteps, or fewer draws"),
    "pictures": (0.25, "a larger training.samples.everySteps, or fewer evaluation.inferenceSteps"),
    "checkpoint": (0.15, "a larger training.checkpoint.everySteps, or a faster store"),
}
"""From which share of the time on a part is worth a word, and that word."""


def spent(seconds: Mapping[str, float]) -> list[Spent]:
    """Return the parts as a report tells them, the longest first, what took nothing left out."""
    parts = sorted(seconds.items(), key=lambda part: -part[1])
    return [Spent(name=name, seconds=round(s, 3)) for name, s in parts if round(s, 3) > 0]


def bottleneck(seconds: Mapping[str, float]) -> str:
    """Return what takes most of the time, and what could be done about parts that take more than they should."""
    total = sum(seconds.values())
    if not total:
        return ""
    most = max(seconds, key=lambda part: seconds[part])
    told = f"{most} takes {seconds[most] / total:.0%} of training".replace("%", " %")
    return "; ".join([told, *_advice(seconds, total)])


def _advice(seconds: Mapping[str, float], total: float) -> Iterator[str]:
    worth = {part: s / total for part, s in seconds.items() if part in ADVICE and s / total >= ADVICE[part][0]}
    for part, share in sorted(worth.items(), key=lambda item: -item[1]):
        yield f"{part} {share:.0%}: {ADVICE[part][1]}".replace("%:", " %:")
