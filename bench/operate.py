"""Benchmarks of the operator, on a real etcd and API server, without KubeRay. See docs/benchmarks.md.

python bench/operate.py              all parts as published; half an hour
python bench/operate.py --small      all parts with a tenth of the jobs
python bench/operate.py life idle    these parts alone
"""

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from diptych_bench.machine import watched
from diptych_bench.operator_arrivals import Arrivals, Burst, arriving, burst
from diptych_bench.operator_bars import Outcome, tell
from diptych_bench.operator_idle import Idle, idle
from diptych_bench.operator_life import life
from diptych_bench.operator_reactions import reactions
from diptych_bench.operator_reports import Reports, reports


class Part(StrEnum):
    """What is measured."""

    LIFE = "life"
    ARRIVING = "arriving"
    BURST = "burst"
    IDLE = "idle"
    REPORTS = "reports"
    REACTIONS = "reactions"


FULL = {Part.ARRIVING: Arrivals(), Part.BURST: Burst(), Part.IDLE: Idle(), Part.REPORTS: Reports()}
SMALL = {
    Part.ARRIVING: Arrivals(present=100),
    Part.BURST: Burst(jobs=100),
    Part.IDLE: Idle(steps=((100, 30), (1000, 60))),
    Part.REPORTS: Reports(jobs=100, rounds=3),
}
MEASURES: dict[Part, Callable[..., Outcome]] = {
    Part.LIFE: life,
    Part.ARRIVING: arriving,
    Part.BURST: burst,
    Part.IDLE: idle,
    Part.REPORTS: reports,
    Part.REACTIONS: reactions,
}


def main(
    parts: Annotated[list[Part] | None, typer.Argument(help="What is measured; all parts when none is named.")] = None,
    *,
    small: Annotated[bool, typer.Option("--small", help="A tenth of the jobs.")] = False,
) -> None:
    """Measure the operator."""
    efforts = SMALL if small else FULL
    for part in parts or list(Part):
        with watched() as weather:
            outcome = MEASURES[part](*([efforts[part]] if part in efforts else []))
        tell(part.value, efforts.get(part), weather, outcome, small=small and part in efforts)


if __name__ == "__main__":
    typer.run(main)
