"""Benchmarks of data; each prints tables and writes a file to bench/results. See docs/benchmarks.md."""

from typing import Annotated

import typer

from diptych_bench import data_encode as encodings
from diptych_bench import data_memory as memories
from diptych_bench import data_rates as rates
from diptych_bench import data_search as searches

app = typer.Typer(help="Benchmarks of data.", no_args_is_help=True)


@app.command()
def prepare(
    pictures: Annotated[int, typer.Option(min=10, help="Pictures of 512 × 512 pixels that are made for it.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all ways take their turn.")] = 3,
) -> None:
    """Look into pictures as Diptych does, as imagehash does and as datasets' map does: the CPU's time of each."""
    rates.rates(pictures, rounds)


@app.command()
def encode(
    pictures: Annotated[int, typer.Option(min=16, help="JPEGs of 512 × 512 pixels that are made for it.")] = 160,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which both ways take their turn.")] = 3,
) -> None:
    """Encode pictures for training as Diptych does and as datasets' map does: the CPU's time of each."""
    encodings.encode(pictures, rounds)


@app.command()
def search(
    hashes: Annotated[int, typer.Option(min=1000, help="Random hashes, most of them without a copy.")] = 100_000,
) -> None:
    """Find copies among random hashes and vectors: the CPU's time by number and threshold."""
    searches.search(hashes)


@app.command()
def memory(pictures: Annotated[int, typer.Option(min=100, help="Pictures of 64 × 64 pixels.")] = 100_000) -> None:
    """Prepare many pictures, killed in the middle and begun again: memory and time."""
    memories.memory(pictures)


if __name__ == "__main__":
    app()
