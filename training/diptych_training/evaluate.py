"""Base and tuned compared: the same prompts, the same seeds, one report."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, NotRequired, TypedDict

import numpy as np
import torch

from diptych_api.after import Evaluation
from diptych_api.dataset import Image
from diptych_api.evaluation_report import EvaluationReport, GateDecision, MetricResult, PairResult, Verdict
from diptych_api.report import MetricValue
from diptych_diffusion import lora
from diptych_diffusion.components import Components
from diptych_diffusion.sampler import SampleRequest, sample
from diptych_training.data.entry import Entry, read_entry
from diptych_training.distances import Picture, Pictures
from diptych_training.evaluation_files import Album, publish
from diptych_training.filler_prompts import write_prompts
from diptych_training.gate import decide, not_comparable
from diptych_training.incumbent import Contest
from diptych_training.measure import Views, measure
from diptych_training.metrics import Measurement
from diptych_training.mosaic import FILLERS, Filler, check_mosaic
from diptych_training.run_store import RunStore
from diptych_training.suites import is_file, prompts_of

PACKAGES: Final = ("diptych", "torch", "diffusers", "transformers", "peft")
DTYPES: Final = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
MOST_REFERENCES: Final = 10_000
NO_BASE: Final = "A model from scratch has no base to be held against. Promote it by hand: diptych promote."
OnProgress = Callable[[int, int], None]


Side = Literal["base", "tuned", "incumbent", "variant"]


class Drawn(TypedDict):
    """The pictures of each side."""

    base: Pictures | None
    tuned: Pictures
    incumbent: NotRequired[Pictures]
    variant: NotRequired[Pictures]


@dataclass(frozen=True, slots=True)
class Models:
    """Who is compared. ``base`` may be ``tuned`` itself: then its pictures are drawn with the adapter off."""

    tuned: Components
    base: Components | None
    """None where there is no base, as after training from scratch."""


@dataclass(frozen=True, slots=True)
class Exam:
    """What both are asked, and what is already known of them."""

    settings: Evaluation
    image: Image
    held_out: tuple[Entry, ...] = ()
    rivals: Mapping[str, Picture] = field(default_factory=dict)
    """Pictures by caption in the style that tuning should leave."""
    measured: tuple[Measurement, ...] = ()
    """Figures measured elsewhere, such as ValidationLoss by `metrics.paired`."""
    artifact: str | None = None
    """Digest of what was tuned."""
    contest: Contest | None = None
    """What it must beat to be promoted."""
    inputs: str | None = None
    """Digest of all that decides the report."""
    learned: tuple[Entry, ...] = ()
    """Pictures that were trained on, for a mosaic."""


def evaluate(models: Models, exam: Exam, store: RunStore, on_progress: OnProgress | None = None) -> EvaluationReport:
    """Draw, measure and write ``evaluation/`` in one step; return its report.json.

    The n-th prompt has seed + n on both sides, so a pair differs by the weights alone. ``on_progress`` hears of
    pictures drawn and pictures in all, and may raise to stop.
    """
    prompts, entries = _questions(exam)
    check_mosaic(exam.settings, len(prompts), len(exam.learned))
    request = _request(exam, prompts)
    started = time.monotonic()
    sides = _draw(models, exam, request, on_progress or _ignore)
    seconds = time.monotonic() - started
    album = Album(prompts, _real(entries, exam.image), fillers=_fillers(models, exam, request), **sides)
    viewer = models.base or models.tuned
    views = Views(exam.measured, exam.rivals, partial(_references, exam))
    measurements = list(measure(album, exam.settings, views, viewer))
    metrics = [measurement.result for measurement in measurements]
    report = EvaluationReport(
        run=store.name,
        inputs=exam.inputs,
        artifact=exam.artifact,
        base=None if models.base is None else f"sha256:{models.base.digest}",
        suite=None if exam.settings.prompts else _suite_name(exam.settings.suite),
        seed=exam.settings.seed,
        inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        scheduler=request.scheduler,
        size=exam.image.size,
        dtype=DTYPES[models.tuned.denoiser.dtype],
        pairs=_pairs(request, album, measurements),
        metrics=metrics,
        variant=exam.settings.variant,
        variants=_variants(exam, album, viewer),
        verdict=_verdict(metrics),
        gate=None if exam.contest is None else _decision(exam, exam.contest, album, metrics, models),
        seconds_per_image=round(seconds / (album.drawn or 1), 4),
        versions={package: version(package) for package in PACKAGES},
        time=datetime.now(UTC).replace(microsecond=0),
    )
    return publish(report, album, store)


def metric_values(report: EvaluationReport) -> list[MetricValue]:
    """Return the metrics as they stand in a run's report."""
    return [MetricValue(name=m.name, base=m.base, tuned=m.tuned, n=m.n, unit=m.unit) for m in report.metrics]


def _questions(exam: Exam) -> tuple[tuple[str, ...], list[Entry | None]]:
    """Return the prompts, and for each the held-out picture that it captions, if there is one."""
    settings = exam.settings
    own = settings.prompts or (prompts_of(settings.suite) if settings.suite else ())
    if not own:
        entries = exam.held_out[: settings.max_prompts]
        return tuple(entry.captions[0] for entry in entries), list(entries)
    first = {entry.captions[0]: entry for entry in reversed(exam.held_out)}
    prompts = tuple(own[: settings.max_prompts])
    return prompts, [first.get(prompt) for prompt in prompts]


def _suite_name(suite: str | None) -> str | None:
    return Path(suite).name if suite and is_file(suite) else suite


def _request(exam: Exam, prompts: tuple[str, ...]) -> SampleRequest:
    settings = exam.settings
    return SampleRequest(
        prompts=prompts,
        seeds=tuple(settings.seed + n for n in range(len(prompts))),
        steps=settings.inference_steps,
        guidance_scale=settings.guidance_scale,
        scheduler=settings.scheduler,
        height=exam.image.size,
        width=exam.image.size,
    )


def _draw(models: Models, exam: Exam, request: SampleRequest, on_progress: OnProgress) -> Drawn:
    """Return the pictures of every side that there is: base, tuned, incumbent, and tuned in other words."""
    contest, words = exam.contest, exam.settings.variant
    rival = contest.incumbent.components if contest is not None and contest.incumbent is not None else None
    sides: list[tuple[Side, Components, SampleRequest]] = [("tuned", models.tuned, request)]
    if models.base is not None:
        sides.insert(0, ("base", models.base, request))
    if rival is not None:
        sides.append(("incumbent", rival, request))
    if words is not None:
        told = tuple(words.replace("{prompt}", prompt) for prompt in request.prompts)
        sides.append(("variant", models.tuned, replace(request, prompts=told)))
    drawn, pictures = Drawn(base=None, tuned=_none(request)), len(request.prompts)
    for turn, (side, components, asked) in enumerate(sides if pictures else []):

        def tell(done: int, of: int, before: int = turn * pictures) -> None:
            on_progress(before + done * pictures // of, len(sides) * pictures)

        with _without_adapter(models) if side == "base" else nullcontext():
            drawn[side] = sample(components, asked, tell)
    return drawn


def _none(request: SampleRequest) -> Pictures:
    return np.zeros((0, request.height or 0, request.width or 0, 3), np.uint8)


def _fillers(models: Models, exam: Exam, request: SampleRequest) -> tuple[Filler, ...]:
    """Return what hides the tuned model's pictures in a mosaic, if one is wanted."""
    settings = exam.settings
    if settings.mosaic == "Off":
        return ()
    if settings.mosaic == "Dataset":
        chosen = random.Random(settings.seed).sample(exam.learned, FILLERS)  # noqa: S311 - the same for the same seed
        return tuple(Filler(read_entry(entry, exam.image.square), entry.key) for entry in chosen)
    written = write_prompts(settings.filler_prompts, FILLERS, settings.seed)
    prompts = written.prompts
    first = settings.seed + len(request.prompts)
    asked = replace(request, prompts=prompts, seeds=tuple(range(first, first + FILLERS)))
    with _without_adapter(models):
        pictures = sample(models.base or models.tuned, asked)
    return tuple(Filler(picture, prompt, written.writer) for picture, prompt in zip(pictures, prompts, strict=True))


def _without_adapter(models: Models) -> AbstractContextManager[None]:
    if models.base is not models.tuned:
        return nullcontext()
    return lora.set_enabled(models.tuned.denoiser, models.tuned.text_encoder, enabled=False)


def _real(entries: Sequence[Entry | None], image: Image) -> tuple[Picture | None, ...]:
    return tuple(None if entry is None else read_entry(entry, image.square) for entry in entries)


def _references(exam: Exam) -> Iterator[Picture]:
    return (read_entry(entry, exam.image.square) for entry in exam.held_out[:MOST_REFERENCES])


def _pairs(request: SampleRequest, album: Album, measurements: Sequence[Measurement]) -> list[PairResult]:
    pairs = []
    for n, (prompt, seed) in enumerate(zip(request.prompts, request.seeds, strict=True)):
        figures = {
            name: each[n]
            for measurement in measurements
            for name, each in measurement.figures.items()
            if len(each) == len(request.prompts)
        }
        pairs.append(PairResult(prompt=prompt, seed=seed, figures=figures, **album.locations(n)))
    return pairs


def _decision(
    exam: Exam, contest: Contest, album: Album, metrics: Sequence[MetricResult], models: Models
) -> GateDecision:
    """Return whether the artifact is better than the current version or, where there is none, than its base."""
    incumbent = contest.incumbent
    if incumbent is None and models.base is None:
        return not_comparable(contest.promotion, None, NO_BASE)
    if incumbent is None:
        return decide(contest.promotion, metrics, None, promotes=contest.promotes)
    if incumbent.problem:
        return not_comparable(contest.promotion, incumbent.run, incumbent.problem)
    wanted = [gate.metric for gate in contest.promotion.gates]
    settings = exam.settings.model_copy(update={"metrics": wanted})
    views = Views(incumbent.measured, exam.rivals, partial(_references, exam))
    viewer = models.base or models.tuned
    results = [each.result for each in measure(replace(album, base=album.incumbent), settings, views, viewer)]
    return decide(contest.promotion, results, incumbent.run, promotes=contest.promotes)


def _variants(exam: Exam, album: Album, viewer: Components) -> list[MetricResult]:
    """Return what other words change: tuned with plain prompts as base, with these words as tuned."""
    if album.variant is None:
        return []
    views = Views(rivals=exam.rivals, references=partial(_references, exam))
    wanted = [name for name in exam.settings.metrics if name != "ValidationLoss"]
    settings = exam.settings.model_copy(update={"metrics": wanted})
    other = replace(album, base=album.tuned, tuned=album.variant)
    return [each.result for each in measure(other, settings, views, viewer)]


def _verdict(metrics: Sequence[MetricResult]) -> Verdict:
    """Return what the interval of the first metric says."""
    interval = metrics[0].interval if metrics else None
    if interval is None:
        return "NotSure"
    fell, rose = interval.high < 0, interval.low > 0
    better, worse = (fell, rose) if metrics[0].lower_is_better else (rose, fell)
    return "Better" if better else "Worse" if worse else "NotSure"


def _ignore(_done: int, _total: int) -> None:
    pass
