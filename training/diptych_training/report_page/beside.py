"""What lies beside a report and is told on its page: the mosaic with its answers, and how exact an export is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOSAIC_FILE, MOSAIC_MAP = "mosaic.png", "mosaic.json"
PLACES: Final = ("upper left", "upper right", "lower left", "lower right")
ACROSS: Final = 4
PICTURES: Final = "latent_sample", "sample"
"""Inputs whose last two sides are those of pictures."""


DAMAGED: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""What reading a file of another's making may raise; RecursionError is a RuntimeError."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A sheet as a data URI, and where the tuned model's picture of each prompt is on it."""

    src: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """One part of an exported network, in words."""

    part: str
    cases: int
    shapes: str
    difference: str


@dataclass(frozen=True, slots=True)
class Beside:
    """All of it; what is not there is left out of the page."""

    mosaic: Mosaic | None = None
    exported: tuple[Exported, ...] = ()


NOTHING: Final = Beside()


def answers(slot_map: bytes) -> Iterator[tuple[str, str]]:
    """Yield place and prompt of each block of a mosaic, as mosaic.json tells them."""
    for number, block in enumerate(json.loads(slot_map)["blocks"]):
        row, column = divmod(number, ACROSS)
        yield f"Row {row + 1}, column {column + 1}: {dict(enumerate(PLACES))[block['slot']]}", str(block["prompt"])


def exported(parity: bytes) -> Iterator[Exported]:
    """Yield how far each part of an ONNX export is from the network that it was made of, as parity.json tells."""
    for part, told in json.loads(parity)["parts"].items():
        shapes = ", ".join(dict.fromkeys(_shape(case["inputs"]) for case in told["cases"]))
        largest = max(case["largest_output"] for case in told["cases"])
        difference = f"{told['max_abs_diff']:.2g} at most, where outputs reach {largest:.3g}"
        yield Exported(part.replace("_", " "), len(told["cases"]), shapes, difference)


def _shape(inputs: Mapping[str, Any]) -> str:
    first = next((inputs[name] for name in PICTURES if name in inputs), next(iter(inputs.values())))
    return " × ".join(map(str, first))
