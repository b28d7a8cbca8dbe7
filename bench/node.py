"""Benchmarks of the whole way on a real node with real KubeRay; each writes to bench/results. See docs/benchmarks.md.

They run as root, as `make e2e` does, or with the cluster that KUBECONFIG and the variables of the images name.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from diptych_bench import node_cost as costs
from diptych_bench import node_way as ways

app = typer.Typer(help="Benchmarks on a real node.", no_args_is_help=True)


@app.command()
def way() -> None:
    """Go from `helm install` to the first compared picture, and tell whose turn it was when."""
    ways.way()


@app.command()
def cost(
    rounds: Annotated[int, typer.Option(min=1, help="Jobs of each way, in turn.")] = 4,
    steps: Annotated[int, typer.Option(min=20, help="Steps of a job.")] = 40,
) -> None:
    """Run FineTuneJobs, and the same RayJobs without Diptych."""
    costs.cost(rounds, steps)


if __name__ == "__main__":
    app()
