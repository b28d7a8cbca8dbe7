"""Benchmarks of training; each prints tables and writes a file to bench/results. See docs/benchmarks.md."""

from typing import Annotated, Literal

import typer

from diptych_bench import memory_table as memories
from diptych_bench import train_ladder as ladders
from diptych_bench import train_ray as rays
from diptych_bench import train_scaling as scalings
from diptych_bench import train_script as scripts
from diptych_bench.shapes import quieten

app = typer.Typer(help="Benchmarks of training.", no_args_is_help=True, callback=quieten)


@app.command()
def script(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which both loops take their turn.")] = 5,
    steps: Annotated[int, typer.Option(min=2, help="Steps of a turn.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute.")] = 1,
    batch: Annotated[list[int] | None, typer.Option(help="Samples of a step; may be given again.")] = None,
) -> None:
    """Train tiny-emoji as Diptych does and as diffusers' script does: the same losses, then the speed of both."""
    efforts = [scripts.Effort(rounds, steps, threads, batch_size) for batch_size in batch or [4, 16]]
    if not scripts.against_script(efforts):
        raise typer.Exit(1)


@app.command()
def ray() -> None:
    """Measure what Ray costs per training step."""
    rays.ray_cost()


@app.command()
def scaling(steps: Annotated[int, typer.Option(min=2, help="Steps of a turn.")] = 12) -> None:
    """Measure one worker against two, and what pictures, their size and the rank cost."""
    scalings.scaling(steps)


@app.command()
def ladder(
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where; cuda takes the shape of SD 1.5.")] = "cuda",
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of a row.")] = 100,
    batch: Annotated[list[int] | None, typer.Option(help="Samples of a step; may be given again.")] = None,
) -> None:
    """Climb from the script's step to ours, one lever at a time (V0 to V7)."""
    ladders.ladder(device, steps, batch or ([1, 4, 16, 64] if device == "cuda" else [4]))


@app.command()
def memory() -> None:
    """Compute what jobs of the usual bases need of a GPU."""
    memories.memory_table()


if __name__ == "__main__":
    app()
