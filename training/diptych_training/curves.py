"""The loss of a run, drawn and as a table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diptych_training.letters import Row
from diptych_training.run_store_local import write_file

SMOOTHING: Final = 0.9
TRAINING, VALIDATION, BEST = "#8c959f", "#0969da", "#1a7f37"


def loss_curve(rows: Sequence[Row], path: Path, *, title: str = "") -> None:
    """Write the curve as PNG to ``path`` and its points beside it as CSV; rows as in metrics.jsonl, by step."""
    write_file(path, loss_png(rows, title=title))
    write_file(path.with_suffix(".csv"), loss_csv(rows))


def loss_csv(rows: Sequence[Row]) -> bytes:
    """Return step, loss, smoothed_loss, val_loss, learning_rate and grad_norm; cells without a figure are empty."""
    smooth = dict(smoothed([(row.step, row.loss) for row in rows if row.loss is not None]))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", "loss", "smoothed_loss", "val_loss", "learning_rate", "grad_norm"])
    for row in rows:
        average = smooth[row.step] if row.loss is not None else None
        table.writerow([row.step, row.loss, average, row.val_loss, row.learning_rate, row.grad_norm])
    return text.getvalue().encode()


def loss_png(rows: Sequence[Row], *, title: str = "") -> bytes:
    """Return a PNG: training loss faint and smoothed, validation loss from its first value on, the best one marked."""
    training = [(row.step, row.loss) for row in rows if row.loss is not None]
    validation = [(row.step, row.val_loss) for row in rows if row.val_loss is not None]
    figure = Figure(figsize=(8, 4.5), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if training:
        axes.plot(*zip(*training, strict=True), color=TRAINING, alpha=0.3, linewidth=0.8)
        axes.plot(*zip(*smoothed(training), strict=True), color=TRAINING, linewidth=1.8, label="training, smoothed")
    if validation:
        first, best = validation[0], min(validation, key=lambda point: point[1])
        axes.plot(*zip(*validation, strict=True), color=VALIDATION, linewidth=1.8, marker="o", markersize=4)
        axes.lines[-1].set_label(f"validation, {first[1]:.4g} before training")
        axes.axhline(first[1], color=VALIDATION, linewidth=0.9, linestyle=(0, (2, 3)))
        label = f"best, {best[1]:.4g} at step {best[0]}"
        axes.plot(*best, color=BEST, marker="*", markersize=15, linestyle="none", label=label, zorder=3)
    axes.set_ylim(*_limits([loss for _, loss in smoothed(training)] + [loss for _, loss in validation]))
    axes.set(title=title, xlabel="optimiser step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d8dee4", linewidth=0.8)
    if training or validation:
        axes.legend(frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the exponential moving average of the values, without its pull towards 0 at the start."""
    total = weight = 0.0
    result = []
    for step, value in points:
        total, weight = SMOOTHING * total + value, SMOOTHING * weight + 1
        result.append((step, total / weight))
    return result


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis that shows all these values; single noisy steps may leave it."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.15 * (high - low) or 0.1 * high or 0.1
    return max(0.0, low - room), high + room
