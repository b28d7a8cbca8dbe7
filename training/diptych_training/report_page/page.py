"""From an evaluation to its page: what is told, in which words, and where the bars lie."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from diptych_api.evaluation_report import EvaluationReport, GateCheck, GateDecision, MetricResult, PairResult
from diptych_api.report import Report
from diptych_training.report_page.beside import NOTHING, Beside

SHOWN: Final = 64
SIDES: Final = ("real", "base", "incumbent", "tuned", "variant")
HEADLINES: Final = {"Better": "Tuned is better", "Worse": "Tuned is worse", "NotSure": "Not sure which is better"}
TONES: Final = {"Better": "better", "Worse": "worse", "NotSure": "unsure"}
DECISIONS: Final = {"Promoted": "Promoted to", "Offered": "Offered to", "NotPromoted": "Not promoted to"}
WIDTH, EDGE = 190, 8
DIGEST_SHOWN: Final = 19
SMALL: Final = 256
CELL_OF_SMALL, CELL = 6.6, 9.5
"""Least width of a picture in rem."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a pair, as a data URI; empty where there is none."""

    side: str
    src: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The pictures of one prompt."""

    prompt: str
    seed: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """Where on the picture of an interval its ends, its middle and no change are."""

    low: float
    mid: float
    high: float
    zero: float


@dataclass(frozen=True, slots=True)
class Row:
    """One metric, as it is told."""

    name: str
    direction: str
    base: str
    tuned: str
    change: str
    tone: str
    interval: str
    bar: Bar | None
    n: int
    p: str
    note: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How training went; pictures are data URIs."""

    curve: str = ""
    samples: Sequence[tuple[int, str]] = ()
    """Steps, and what was drawn after them."""
    report: Report | None = None


def html(
    report: EvaluationReport,
    sources: Mapping[str, str],
    progress: Progress = Progress(),
    beside: Beside = NOTHING,
) -> str:
    """Return the page. ``sources`` are the pictures as data URIs, by their location beside the report."""
    columns = [side for side in SIDES if any(getattr(pair, side) for pair in report.pairs)]
    shown = report.pairs[:SHOWN]
    return _template().render(
        report=report,
        headline=HEADLINES[report.verdict],
        tone=TONES[report.verdict],
        lead=lead(report),
        columns=columns or SIDES,
        pairs=[_pair(pair, columns, sources) for pair in shown],
        hidden=len(report.pairs) - len(shown),
        cell=CELL_OF_SMALL if report.size < SMALL else CELL,
        curve=progress.curve,
        samples=progress.samples,
        mosaic=beside.mosaic,
        exported=beside.exported,
        spent=[] if progress.report is None else list(spent(progress.report)),
        rows=[row(metric) for metric in report.metrics],
        variants=[row(metric) for metric in report.variants],
        facts=list(facts(report)),
        decision=report.gate,
        reason="" if report.gate is None else _reason(report.gate),
        decision_title="" if report.gate is None else f"{DECISIONS[report.gate.outcome]} {report.gate.model}.",
        checks=[] if report.gate is None else [_check(each) for each in report.gate.checks],
    )


def lead(report: EvaluationReport) -> str:
    """Return what the verdict rests on, in a sentence or two."""
    first = report.metrics[0] if report.metrics else None
    if first is None or first.tuned is None:
        return f"No figure was measured{f': {first.warning}' if first and first.warning else '.'}"
    if first.base is None or first.difference is None:
        return f"{first.name} is {_figure(first.tuned)} over {first.n} samples; there is no base to compare with."
    changed = f"{first.name} went from {_figure(first.base)} to {_figure(first.tuned)}{_percent(first)}"
    if first.interval is None:
        return f"{changed} over {first.n} samples: too few for an interval."
    kept = f"between {_signed(first.interval.low)} and {_signed(first.interval.high)}"
    return f"{changed}. Over {first.n} samples the change lies {kept}, with 95 % confidence."


def row(metric: MetricResult) -> Row:
    """Return a metric in the words and places of the table."""
    interval = metric.interval
    judged = f"{metric.network}, weights {_short(metric.weights)}" if metric.network and metric.weights else ""
    return Row(
        name=metric.name + (f" ({metric.unit})" if metric.unit else ""),
        direction="lower is better" if metric.lower_is_better else "higher is better",
        base=_figure(metric.base),
        tuned=_figure(metric.tuned),
        change=_signed(metric.difference) + _percent(metric),
        tone=_tone(metric),
        interval=f"{_signed(interval.low)} to {_signed(interval.high)}" if interval else "",
        bar=bar(metric),
        n=metric.n,
        p="" if metric.p_value is None else _chance(metric.p_value),
        note=" ".join(part for part in (metric.warning, f"Judged by {judged}." if judged else "") if part),
    )


def _check(found: GateCheck) -> tuple[str, str]:
    """Return a gate in words, and the tone of what came of it."""
    asked = "any improvement" if found.required == 0 else f"an improvement of {_figure(found.required)}"
    if found.required < 0:
        asked = f"a loss of {_figure(-found.required)} at most"
    tone = "better" if found.passed else "worse"
    if found.improvement is None:
        return f"{found.metric}: no figure of both. Asked for {asked}.", tone
    seen = f"{_figure(found.candidate)} against {_figure(found.rival)}, "
    seen += f"{'worse' if found.improvement < 0 else 'better'} by {_figure(abs(found.improvement))}"
    if found.interval is not None:
        seen += f" (interval {_signed(found.interval.low)} to {_signed(found.interval.high)}, n = {found.n})"
    return f"{found.metric}: {seen}. Asked for {asked}.", tone


def _reason(decision: GateDecision) -> str:
    """Return what the list of gates does not say already."""
    if not decision.checks:
        return decision.reason
    if decision.outcome == "NotPromoted" and all(check.passed for check in decision.checks):
        return decision.reason
    return f"Held against {decision.rival or 'its base'} on the same prompts and seeds."


def bar(metric: MetricResult) -> Bar | None:
    """Return the interval on a scale that holds it and no change."""
    if metric.interval is None or metric.difference is None:
        return None
    marks = (metric.interval.low, metric.difference, metric.interval.high, 0.0)
    least, most = min(marks), max(marks)
    if least == most:
        return None
    return Bar(*(round(EDGE + (mark - least) / (most - least) * (WIDTH - 2 * EDGE), 1) for mark in marks))


def facts(report: EvaluationReport) -> Iterator[tuple[str, str]]:
    """Yield what else decides how the pictures look."""
    yield "Prompts", report.suite or "held-out captions or the job's own"
    yield "Seeds", f"{report.seed} for the first prompt, one more for each after it"
    yield "Sampler", f"{report.scheduler}, {report.inference_steps} steps, guidance {report.guidance_scale:g}"
    yield "Pictures", f"{report.size} × {report.size} pixels, {report.dtype}"
    if report.seconds_per_image is not None:
        yield "Time", f"{report.seconds_per_image:.3g} s a picture"
    for name, digest in (("Artifact", report.artifact), ("Base", report.base)):
        if digest:
            yield name, digest
    yield "Versions", ", ".join(f"{package} {number}" for package, number in report.versions.items())


def spent(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what training took: time by part, speed, memory."""
    if report.bottleneck:
        yield "Time", report.bottleneck
    if total := sum(part.seconds for part in report.parts):
        yield "By part", ", ".join(f"{part.name} {100 * part.seconds / total:.0f} %" for part in report.parts)
    if report.images_per_second is not None:
        yield "Speed", f"{report.images_per_second:.3g} pictures a second"
    peaks = (("", report.peak_memory_bytes), ("GPU ", report.peak_gpu_memory_bytes))
    if memory := ", ".join(f"{kind}{peak / 1e9:.2f} GB" for kind, peak in peaks if peak):
        yield "Memory", f"{memory} on the first worker"


def _pair(pair: PairResult, columns: Sequence[str], sources: Mapping[str, str]) -> Pair:
    cells = tuple(Cell(side, sources.get(getattr(pair, side) or "", "")) for side in columns)
    return Pair(pair.prompt, pair.seed, cells)


def _tone(metric: MetricResult) -> str:
    if metric.interval is None:
        return ""
    fell, rose = metric.interval.high < 0, metric.interval.low > 0
    better, worse = (fell, rose) if metric.lower_is_better else (rose, fell)
    return "better" if better else "worse" if worse else "unsure"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3g}".replace("-", "−")


def _percent(metric: MetricResult) -> str:
    if not metric.base or metric.difference is None:
        return ""
    return f" ({100 * metric.difference / abs(metric.base):+.0f} %)".replace("-", "−")


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - as papers write it


def _short(digest: str) -> str:
    return digest[:DIGEST_SHOWN]


@cache
def _template() -> Template:
    loader = PackageLoader("diptych_training", "report_page")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("page.html")
