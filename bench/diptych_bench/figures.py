"""Figures of repeated measurements, on the screen and in files."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from diptych_bench.machine import Machine, Weather, told

WIDTH: Final = 150
RESULTS: Final = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated measurements came to."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value, rounded to four digits."""
        return cls(_short(statistics.median(values)), _short(min(values)), _short(max(values)), len(values))

    def __str__(self) -> str:
        return f"{self.median:g} ({self.least:g} to {self.most:g})"


def ratios(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """Return how many times longer the first took, pair by pair."""
    return Spread.of([a / b for a, b in zip(slower, faster, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, between values where it falls between them."""
    return _short(float(np.percentile(values, percent)))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=WIDTH).print(table)


def save(name: str, machine: Machine, weather: Weather, figures: Mapping[str, Any]) -> Path:
    """Write a result to ``bench/results`` and return its file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**told(machine, weather), **figures}, indent=1, default=asdict) + "\n")
    return path


def _short(value: float) -> float:
    """Return the value to four digits: more would be noise."""
    return float(f"{value:.4g}")
