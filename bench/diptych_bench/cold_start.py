"""From nothing to the first picture: of the engine in a process of its own, and of a whole deployment."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import httpx2

from diptych_bench.deployments import deployed
from diptych_bench.figures import Spread, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.shapes import SHAPES, make_base
from diptych_diffusion.builtin import builtin_folder

STAGES: Final = ("process", "weights", "warm-up", "first picture", "second picture")
STEPS: Final = 20


def cold_start(runs: int, *, deploys: bool) -> None:
    """Measure, print and save."""
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        bases = {"tiny-emoji, 64²": builtin_folder("tiny-emoji")}
        bases |= {shape.name: make_base(Path(scratch) / str(n), shape) for n, shape in enumerate(SHAPES[:2])}
        engines = {name: _spreads([_in_new_process(folder) for _ in range(runs)]) for name, folder in bases.items()}
        deployment = _deployment() if deploys else {}
    rows = [(name, *(stages[stage] for stage in STAGES)) for name, stages in engines.items()]
    show(f"engine alone, seconds, {STEPS} steps", ("base", *STAGES), rows)
    show("deployment with tiny-emoji, seconds", ("stage", ""), list(deployment.items()))
    print(save("cold-start", this_machine(), weather, {"runs": runs, "engine": engines, "deployment": deployment}))


def _in_new_process(folder: Path) -> list[float]:
    """Return the seconds of each stage."""
    command = [sys.executable, "-m", "diptych_bench.first_picture", str(folder), str(STEPS)]
    started = time.monotonic()
    place = str(Path(__file__).resolve().parents[1])
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place).stdout  # noqa: S603 - us
    moments = [started, *json.loads(printed.splitlines()[-1])]
    return [after - before for before, after in pairwise(moments)]


def _spreads(runs: Sequence[Sequence[float]]) -> dict[str, Spread]:
    return {stage: Spread.of(seconds) for stage, seconds in zip(STAGES, zip(*runs, strict=True), strict=True)}


def _deployment() -> dict[str, float]:
    """Return the seconds until a deployment is ready, then of its first pictures."""
    started = time.monotonic()
    with deployed(draws=True, defaults={"steps": STEPS}) as deployment:
        moments = [started, time.monotonic()]
        with httpx2.Client(base_url=deployment.url, timeout=120) as client:
            for _ in range(6):
                client.post("/v1/generate", json={"prompt": "a red apple", "seed": 7}).raise_for_status()
                moments.append(time.monotonic())
    ready, first, *later = [after - before for before, after in pairwise(moments)]
    later_s = statistics.median(later)
    return {"Ray, Ray Serve, base: ready": round(ready, 2), "first": round(first, 3), "later": round(later_s, 3)}
