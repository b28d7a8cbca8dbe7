"""A run as it tells itself, recorded: for views that draw reports. And the command, run in this process."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from typer.testing import CliRunner, Result

from diptych_api.report import ArtifactRef, MetricValue, Report
from diptych_cli.main import app

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(
    uri="file:///runs/artifact", digest=f"sha256:{'0' * 64}", size_bytes=912_345, trainable_parameters=231_936
)


def report(phase: str, after_s: float = 0, **fields: Any) -> Report:
    """Return a report that was said some seconds after the start."""
    return Report.model_validate({"phase": phase, "time": START + timedelta(seconds=after_s), **fields})


def recorded() -> Iterator[Report]:
    """Yield the reports of a whole run, in the order in which they come."""
    yield report("Preparing")
    yield report("Preparing", 1, pictures=240, bad_pictures=0, total_steps=300)
    counts = {"pictures": 240, "total_steps": 300}
    yield report("Caching", 2, done=120, total=240, **counts)
    yield report("Caching", 4, done=240, total=240, **counts)
    first = {"first_val_loss": 0.187, "images_per_second": 31.2, **counts}
    for step in range(50, 301, 50):
        loss, val = 0.2 - step / 3000, 0.187 - step / 5000
        eta = (300 - step) * 0.44
        yield report(
            "Training", 5 + step * 0.44, step=step, loss=loss, val_loss=val, best_val_loss=val, eta_seconds=eta, **first
        )
    yield report("Evaluating", 140, done=3, total=40, step=300, **counts)
    yield report(
        "Succeeded",
        150,
        step=300,
        loss=0.1,
        val_loss=0.127,
        best_val_loss=0.124,
        **first,
        artifact=ArtifactRef(
            uri="file:///tmp/run/artifact",
            digest=f"sha256:{'0' * 64}",
            size_bytes=912_345,
            trainable_parameters=231_936,
        ),
        metrics=[
            MetricValue(name="StyleDistance", base=0.412, tuned=0.223, n=40),
            MetricValue(name="NearerByStyle", base=0.21, tuned=0.84, n=40, unit="share"),
        ],
    )


def diptych(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
