"""Benchmarks of serving; each prints tables and writes a file to bench/results. See docs/benchmarks.md."""

from typing import Annotated, Literal

import torch
import typer

from diptych_bench import cold_start as cold_starts
from diptych_bench import compare as compares
from diptych_bench import encoding as encodings
from diptych_bench import gateway as gateways
from diptych_bench import soak as soaks
from diptych_bench import trace as traces
from diptych_bench.shapes import SD15, SD15_512, SHAPES, quieten

app = typer.Typer(help="Benchmarks of serving.", no_args_is_help=True, callback=quieten)
Rounds = Annotated[int, typer.Option(min=1, help="Rounds in which all ways take their turn.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that compute.")]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@app.command()
def compare(
    rounds: Rounds = 9,
    *,
    full: Annotated[bool, typer.Option("--full", help="Add the shape of Stable Diffusion 1.5; takes 16 GB.")] = False,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where; cuda draws the large shape at 512².")] = "cpu",
    dtype: Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="Arithmetic.")] = "fp32",
    threads: Threads = 2,
    rest: Annotated[float, typer.Option(min=0, help="Seconds between rounds, on a machine that others use.")] = 0,
) -> None:
    """Draw base and adapter in one forward, and in the ways of diffusers and peft."""
    shapes = [*SHAPES, *([SD15] if full else []), *([SD15_512] if device == "cuda" else [])]
    effort = compares.Effort(rounds=rounds, threads=threads, rest_s=rest, device=device, dtype=DTYPES[dtype])
    if not compares.compare(shapes, effort):
        raise typer.Exit(1)


@app.command()
def trace(
    rounds: Annotated[int, typer.Option(min=0, help="Rounds in real time; 0 for simulated time alone.")] = 2,
    burst: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 24,
    stream: Annotated[int, typer.Option(min=1, help="Requests one by one.")] = 40,
    threads: Threads = 2,
) -> None:
    """Replay a mixed trace through the engine, then in simulated time."""
    traces.trace(traces.Effort(rounds=rounds, burst=burst, stream=stream, threads=threads))


@app.command()
def gateway(requests: Annotated[int, typer.Option(min=2, help="Requests of each kind.")] = 200) -> None:
    """Ask a deployment whose engine answers at once."""
    gateways.gateway(gateways.Effort(requests=requests))


@app.command()
def encoding(pairs: Annotated[int, typer.Option(min=1, help="Pictures of each kind.")] = 20) -> None:
    """Show that pictures are not encoded on the engine's thread."""
    encodings.encoding(pairs)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes with each engine.")] = 10,
    clients: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 200,
) -> None:
    """Let many clients ask at once, for minutes."""
    if not soaks.soak(soaks.Effort(clients=clients, minutes=minutes)):
        raise typer.Exit(1)


@app.command()
def cold_start(
    runs: Annotated[int, typer.Option(min=1, help="Processes that are started for each base.")] = 5,
    *,
    deployment: Annotated[bool, typer.Option(help="Start Ray Serve, too.")] = True,
) -> None:
    """Time the way from nothing to the first picture."""
    cold_starts.cold_start(runs, deploys=deployment)


if __name__ == "__main__":
    app()
