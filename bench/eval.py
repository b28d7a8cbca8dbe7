"""Benchmarks of evaluation; each prints tables and writes a file to bench/results. See docs/benchmarks.md."""

from typing import Annotated

import typer

from diptych_bench import eval_metrics

app = typer.Typer(help="Benchmarks of evaluation.", no_args_is_help=True, callback=lambda: None)


@app.command()
def metrics(
    pictures: Annotated[int, typer.Option(min=2, help="Pictures of each side.")] = 48,
    side: Annotated[int, typer.Option(min=64, help="Their side in pixels.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all ways take their turn.")] = 3,
) -> None:
    """Judge the same pictures by the same networks as torch-fidelity, lpips and open_clip do: values and time."""
    eval_metrics.metrics(pictures, side, rounds)


if __name__ == "__main__":
    app()
