"""How far an ONNX file is from the network that it was made of."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Generator

from diptych_api.errors import ArtifactInvalid
from diptych_diffusion.onnx_file import Session
from diptych_diffusion.onnx_parts import Part, Size
from diptych_diffusion.sampler import evaluating

BOUND: Final = 1e-4
"""Allowed difference, as a share of the largest output, or of 1 where that is smaller.

Rounding makes 1e-6 to 1e-5 of it; an eighth of a colour's step in a finished picture is 1e-3.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: the shapes of the inputs by name, and what came out."""

    inputs: dict[str, list[int]]
    max_abs_diff: float
    largest_output: float
    """Largest magnitude of PyTorch's output."""

    @property
    def is_within(self) -> bool:
        """Whether the difference is allowed; one that is no number is not."""
        return self.max_abs_diff <= BOUND * max(1.0, self.largest_output)


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found of one part."""

    part: str
    cases: tuple[Case, ...]

    @property
    def max_abs_diff(self) -> float:
        """The largest difference of all cases."""
        return max(case.max_abs_diff for case in self.cases)


def compare(part: Part, file: Path, sizes: tuple[Size, ...]) -> Parity:
    """Return how a file differs from the network with its adapter attached, as it draws, at every size.

    Raises:
        ArtifactInvalid: names the case that differs by more than BOUND.

    """
    session, random = Session(file), Generator().manual_seed(1)
    return Parity(part.name, tuple(_checked(part, _case(part, session, size, random)) for size in sizes))


def _case(part: Part, session: Session, size: Size, random: Generator) -> Case:
    inputs = part.draw(size, random)
    with torch.inference_mode(), evaluating(part.network):
        wanted = part.network(*inputs)
    found = session(inputs)
    shapes = {name: list(tensor.shape) for name, tensor in zip(part.inputs, inputs, strict=True)}
    difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else math.inf
    return Case(shapes, difference, float(wanted.abs().max()))


def _checked(part: Part, case: Case) -> Case:
    if not case.is_within:
        raise ArtifactInvalid(
            f"{part.name}: ONNX Runtime and PyTorch differ by {case.max_abs_diff:.2g} where outputs reach "
            f"{case.largest_output:.2g}, at inputs {case.inputs}; {BOUND:g} of that is allowed.",
            hint="Nothing was written. Very large weights of an adapter lose digits when they are merged; without such "
            "an adapter report this, with the versions of torch, onnxscript and onnxruntime.",
        )
    return case
