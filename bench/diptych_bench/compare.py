"""Base and adapter in one forward pass against other ways to draw both, in turn, in one process."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.peers import OURS, OURS_ONNX, PROMPT, TWO_PIPELINES, Draw, Studio, peers
from diptych_bench.shapes import Shape, make_adapter, make_base, million_parameters
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load

LARGEST_DIFFERENCE: Final = 5e-6
"""Of final latents in fp32 against two unmodified pipelines, as a share of the largest latent."""
GUIDANCE: Final = 7.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured, and where."""

    rounds: int = 9
    steps: int = 4
    threads: int = 2
    rest_s: float = 0.0
    """Pause between rounds, so that others who use the machine are not held up for long."""
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


@dataclass
class Seconds:
    """Seconds of each round of one way."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def compare(shapes: Sequence[Shape], effort: Effort) -> bool:
    """Measure all shapes, print and save; return whether all differences are within the bound."""
    torch.set_num_threads(effort.threads)
    with watched() as weather:
        results = [_measured(shape, effort) for shape in shapes]
    for result in results:
        columns = ("way to draw both", "ms per step", "CPU ms per step", "time, against ours", "CPU, against ours")
        rows = [(name, *figures.values()) for name, figures in result["ways"].items()]
        show(f"{result['shape']}: UNet of {result['million_parameters']} M", columns, rows)
        print(f"largest difference from two pipelines: {result['largest_difference']:.2g} of the largest latent")
    threads = f"-{effort.threads}-thread{'s' if effort.threads > 1 else ''}" if effort.device == "cpu" else ""
    name = f"compare-{effort.device}{threads}"
    print(save(name, this_machine(), weather, {"effort": _plain(effort), "prompt": PROMPT, "shapes": results}))
    return all(result["is_exact"] for result in results)


def _measured(shape: Shape, effort: Effort) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        studio = _studio(Path(scratch), shape, effort)
        ways = peers(studio)
        drawn = {name: draw() for name, draw in ways.items()}  # warms up, too
        difference = max(_difference(drawn[way], drawn[TWO_PIPELINES]) for way in (OURS, OURS_ONNX) if way in drawn)
        seconds = _in_turns(ways, effort)
        return {
            "shape": shape.name,
            "million_parameters": million_parameters(studio.components),
            "largest_difference": difference,
            "is_exact": effort.dtype != torch.float32 or effort.device != "cpu" or difference <= LARGEST_DIFFERENCE,
            "ways": {name: _figures(taken, seconds[OURS], effort.steps) for name, taken in seconds.items()},
        }


def _studio(scratch: Path, shape: Shape, effort: Effort) -> Studio:
    base = make_base(scratch / "base", shape)
    adapter, file = make_adapter(scratch / "adapter", base, seed=1)
    components = load(base, dtype=effort.dtype, device=effort.device)
    return Studio(base, adapter, file, components, Settings(shape.pixels, shape.pixels, effort.steps, GUIDANCE))


def _in_turns(ways: Mapping[str, Draw], effort: Effort) -> dict[str, Seconds]:
    """Return the times of each way; every round starts with another one."""
    names, seconds = list(ways), {name: Seconds() for name in ways}
    for turn in range(effort.rounds):
        time.sleep(effort.rest_s)
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name]()
            if effort.device == "cuda":
                torch.cuda.synchronize()
            seconds[name].wall.append(time.perf_counter() - wall)
            seconds[name].cpu.append(time.process_time() - cpu)
    return seconds


def _figures(taken: Seconds, ours: Seconds, steps: int) -> dict[str, Spread]:
    return {
        "ms_per_step": Spread.of([1000 * value / steps for value in taken.wall]),
        "cpu_ms_per_step": Spread.of([1000 * value / steps for value in taken.cpu]),
        "time_against_ours": ratios(taken.wall, ours.wall),
        "cpu_against_ours": ratios(taken.cpu, ours.cpu),
    }


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


def _plain(effort: Effort) -> dict[str, Any]:
    return {
        "rounds": effort.rounds,
        "rest_s": effort.rest_s,
        "steps": effort.steps,
        "threads": effort.threads,
        "device": effort.device,
        "dtype": str(effort.dtype).removeprefix("torch."),
        "guidance": GUIDANCE,
    }
