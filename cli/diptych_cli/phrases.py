"""Figures as people read them."""

from datetime import datetime

from diptych_api.report import MetricValue, Report
from diptych_cli.story import NAMES

SECONDS_PER_MINUTE = 60
MINUTES_PER_HOUR = 60
HOURS_PER_DAY = 24


def clock(seconds: float) -> str:
    """Return a duration as `0:41`, `12:05` or `3:02:10`."""
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(time: datetime, now: datetime) -> str:
    """Return how long ago something was, such as `3 min`."""
    seconds = max(0, round((now - time).total_seconds()))
    minutes = seconds // SECONDS_PER_MINUTE
    hours = minutes // MINUTES_PER_HOUR
    if hours >= 2 * HOURS_PER_DAY:
        return f"{hours // HOURS_PER_DAY} d"
    if minutes >= 2 * MINUTES_PER_HOUR:
        return f"{hours} h"
    return f"{minutes} min" if minutes >= 2 else f"{seconds} s"  # noqa: PLR2004 - 90 s says more than 1 min


def size(count: int) -> str:
    """Return a number of bytes with its unit."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def loss(value: float | None) -> str:
    """Return a loss with three figures that tell."""
    return "" if value is None else f"{value:#.3g}"


def training(report: Report) -> list[str]:
    """Return the figures of training: steps, losses, throughput, time left."""
    told = [f"{report.step}/{report.total_steps}"]
    if report.loss is not None:
        told.append(f"loss {loss(report.loss)}")
    if report.val_loss is not None:
        was = f" (was {loss(report.first_val_loss)})" if report.first_val_loss not in (None, report.val_loss) else ""
        told.append(f"val {loss(report.val_loss)}{was}")
    if report.images_per_second is not None:
        told.append(f"{report.images_per_second:.3g} img/s")
    if report.eta_seconds is not None and report.step < report.total_steps:
        told.append(f"{clock(report.eta_seconds)} left")
    return told


def finished(report: Report) -> str:
    """Return one sentence on a run that succeeded."""
    told = []
    if report.artifact is not None:
        told.append(f"artifact {size(report.artifact.size_bytes)}")
    if report.val_loss is not None and report.first_val_loss is not None:
        told.append(f"val loss {loss(report.first_val_loss)} → {loss(report.best_val_loss or report.val_loss)}")
    return " · ".join(told)


def phase_done(report: Report) -> str:
    """Return what a phase came to."""
    if report.phase == "Preparing":
        return f"{report.pictures:,} pictures, {report.bad_pictures:,} bad"
    if report.phase == "Captioning":
        return f"{report.done:,} captions"
    if report.phase == "Training":
        return f"{report.step:,} steps"
    return f"{report.total:,}" if report.total else ""


def phase_going(report: Report) -> str:
    """Return how far a phase is."""
    if report.phase == "Training":
        return " · ".join(training(report))
    return f"{report.done:,} of {report.total:,}" if report.total else "…"


def phase_name(report: Report) -> str:
    """Return what people call the phase."""
    return NAMES.get(report.phase, report.phase.lower())


def metric(value: float | None, of: MetricValue) -> str:
    """Return a figure of the evaluation with its unit."""
    if value is None:
        return ""
    return f"{value:.0%}".replace("%", " %") if of.unit == "share" else f"{value:#.3g} {of.unit}".rstrip()


def spaced(name: str) -> str:
    """Return a CamelCase name in words; abbreviations stay whole: `StyleDistance`, `CLIPScore`, `KID`."""
    words = ""
    for index, letter in enumerate(name):
        follows = name[index + 1 : index + 2]
        if index and letter.isupper() and (name[index - 1].islower() or follows.islower()):
            words += " "
        words += letter
    return " ".join(word if word.isupper() else word.lower() for word in words.split())
