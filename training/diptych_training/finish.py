"""What follows training, in one Ray task: artifact and check, base and tuned compared, the curve of the loss."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ray.actor import ActorHandle

from diptych_api.artifact import ArtifactRecord, BaseRecord
from diptych_api.errors import Interrupted
from diptych_api.evaluation_report import EvaluationReport, GateDecision
from diptych_api.report import ArtifactRef, MetricValue
from diptych_api.runstore import EVALUATION, METRICS_FILE
from diptych_api.sources import Base
from diptych_diffusion import lora
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_training.artifact import (
    artifact_ref,
    base_record,
    lora_formats,
    pipeline_formats,
    skipped,
    write_lora_artifact,
    write_pipeline_artifact,
)
from diptych_training.bringing import brought
from diptych_training.building import build_loop, load_components
from diptych_training.checkpoint import CheckpointState
from diptych_training.curves import loss_csv, loss_png
from diptych_training.data.manifest import read
from diptych_training.evaluate import Exam, Models, evaluate, metric_values
from diptych_training.evaluation_key import earlier_report, inputs_digest
from diptych_training.gate import not_comparable
from diptych_training.incumbent import Contest, find_incumbent
from diptych_training.letters import Finished, PhaseProgress, Row
from diptych_training.loop import Loop
from diptych_training.mailbox import Mailbox, Sender
from diptych_training.measure import captioned_pictures
from diptych_training.metrics import Measurement, paired
from diptych_training.out_of_memory import memory_named
from diptych_training.progress import mean
from diptych_training.report_page.files import write_page
from diptych_training.reporter import now
from diptych_training.saving import final_state
from diptych_training.share import Share
from diptych_training.trainee import Trainee
from diptych_training.validation import validation_losses

TellPhase = Callable[[PhaseProgress], bool]
"""Takes how far a phase is; returns whether the run should stop."""


@memory_named(
    "making and measuring the artifact",
    "Lower spec.evaluation.maxPrompts or spec.dataset.image.size, or use a machine with more memory.",
)
def finish(share: Share, name: str, base: Base, mailbox: ActorHandle[Mailbox]) -> Finished:
    """Make the artifact of the final checkpoint and evaluate it, in a Ray task."""
    return conclude(share, name, base, Sender(mailbox))


def conclude(share: Share, name: str, base: Base, tell: TellPhase) -> Finished:
    """Make the artifact of the final checkpoint and evaluate it. ``base`` is the base as the job names it."""
    tell(PhaseProgress("Exporting", 0, 0))
    share = brought(share)
    trained = _trained(share)
    draft = _draft(share, name, base_record(base, trained.original), trained.loop, trained.state)
    draft = draft.model_copy(update={"validation_loss": _mean(trained.after)})
    return _assess(share, name, trained, _write(share, trained.original, trained.loop, draft), tell)


def reassess(share: Share, name: str, tell: TellPhase) -> Finished:
    """Evaluate a run's artifact anew, unless its report answers already. Raises ArtifactInvalid."""
    artifact = artifact_ref(share.store)
    share = brought(share)
    earlier = earlier_report(share.store, inputs_digest(share, artifact.digest))
    if earlier is not None:
        return Finished(artifact, tuple(metric_values(earlier)), earlier.gate)
    return _assess(share, name, _trained(share), artifact, tell)


@dataclass(frozen=True, slots=True)
class Trained:
    """A run's loop with the weights of its final checkpoint, and its held-out losses before and after training."""

    loop: Loop
    original: Components
    state: CheckpointState
    before: list[float]
    after: list[float]


def _trained(share: Share) -> Trained:
    loop = build_loop(_uncompiled(share), _device(share), lambda _: False)
    original = load_components(share, _device(share))
    before = _base_losses(share, loop)
    state = final_state(share.store, share.spec.training)
    take_average(loop, state)
    return Trained(loop, original, state, before, _losses(loop))


def _assess(share: Share, name: str, trained: Trained, artifact: ArtifactRef, tell: TellPhase) -> Finished:
    """Evaluate an artifact, unless the report that is there has the same inputs, and draw curve and page."""
    known = (paired("ValidationLoss", trained.before or None, trained.after),) if trained.after else ()
    results = [measurement.result for measurement in known]
    metrics = tuple(MetricValue(name=r.name, base=r.base, tuned=r.tuned, n=r.n) for r in results)
    report = None
    if share.spec.evaluation.enabled:
        report = _evaluate(share, trained, artifact, known, tell)
        metrics = tuple(metric_values(report))
    rows = [Row(**json.loads(line)) for line in share.store.read_lines(METRICS_FILE)]
    points = list({(row.step, row.val_loss is None): row for row in rows}.values())
    share.store.write_bytes(f"{EVALUATION}/loss.png", loss_png(points, title=name))
    share.store.write_bytes(f"{EVALUATION}/loss.csv", loss_csv(points))
    if share.spec.evaluation.enabled:
        write_page(share.store)
    return Finished(artifact, metrics, _decision(share, report))


@torch.no_grad()
def take_average(loop: Loop, state: CheckpointState) -> None:
    """Put the averaged weights of a checkpoint into the modules."""
    for key, parameter in loop.trainee.parameters.items():
        parameter.copy_(state.groups["average"][key])


def tuned_components(original: Components, loop: Loop) -> Components:
    """Return the base's parts with what was trained in their place, ready to draw."""
    loop.trainee.train(on=False)
    return loop.trainee.within(original)


def _uncompiled(share: Share) -> Share:
    """Return the job for the few passes of an evaluation, which compiling would not pay for."""
    training = share.spec.training.model_copy(update={"compile": "Off"})
    return replace(share, spec=share.spec.model_copy(update={"training": training}))


def _device(share: Share) -> torch.device:
    return torch.device("cuda" if share.spec.resources.gpus_per_worker else "cpu")


def _losses(loop: Loop) -> list[float]:
    if not loop.held_out:
        return []
    return validation_losses(loop.trainee, loop.maker, loop.held_out, loop.training.validation.draws)


def _base_losses(share: Share, loop: Loop) -> list[float]:
    """Return the losses of the base, as far as there is one; the loop's weights are those before the first step."""
    if share.spec.method == "FromScratch":
        return []
    without_adapter = share.spec.method == "LoRA"
    networks = filter(None, (loop.trainee.unet, loop.trainee.text_encoder))
    with lora.set_enabled(*networks, enabled=False) if without_adapter else nullcontext():
        return _losses(loop)


def _mean(losses: Sequence[float]) -> float | None:
    return mean(losses) if losses else None


def _draft(share: Share, name: str, base: BaseRecord, loop: Loop, state: CheckpointState) -> ArtifactRecord:
    """Return everything that artifact.json says but losses, forms and files."""
    spec = share.spec
    trained = sum(p.numel() for p in loop.trainee.parameters.values())
    adapter: dict[str, Any] = (
        {
            "rank": spec.lora.rank,
            "alpha": spec.lora.alpha,
            "rslora": spec.lora.use_rslora,
            "dora": spec.lora.use_dora,
            "target_modules": spec.lora.target_modules,
            "text_encoder_rank": spec.lora.text_encoder_rank,
            "base_parameters": _base_parameters(loop.trainee),
        }
        if spec.method == "LoRA"
        else {}
    )
    return ArtifactRecord(
        name=name,
        run=share.store.name,
        method=spec.method,
        base=base,
        trainable_parameters=trained,
        step=int(state.meta["step"]),
        first_validation_loss=state.meta["standing"]["first"],
        ema=spec.training.ema.enabled,
        dataset_digest=f"sha256:{share.identity['data set']}",
        skipped=skipped(spec.export),
        created=now(),
        **adapter,
    )


def _base_parameters(trainee: Trainee) -> int:
    """Return the number of the UNet's own parameters."""
    adapter = sum(p.numel() for name, p in trainee.parameters.items() if name.startswith("unet."))
    return sum(p.numel() for p in trainee.unet.parameters()) - adapter


def _write(share: Share, original: Components, loop: Loop, draft: ArtifactRecord) -> ArtifactRef:
    if share.spec.method == "LoRA":
        text = loop.trainee.text_encoder
        text_state = None if text is None else lora.adapter_state(text)
        state = lora.adapter_state(loop.trainee.unet)
        weights = AdapterWeights.of(state, share.spec.lora, draft.base, text_state)
        formats = lora_formats(share.spec.export, dora=share.spec.lora.use_dora)
        return write_lora_artifact(share.store, original, weights, draft, formats)
    formats = pipeline_formats(share.spec.export)
    return write_pipeline_artifact(share.store, tuned_components(original, loop), draft, formats)


def _models(share: Share, original: Components, loop: Loop) -> Models:
    tuned = tuned_components(original, loop)
    bases = {"LoRA": tuned, "FullUNet": original, "FromScratch": None}
    return Models(tuned=tuned, base=bases[share.spec.method])


def _contest(share: Share, trained: Trained, tell: TellPhase) -> Contest | None:
    """Return what the artifact must beat, where it may become a model's version."""
    promotion = share.spec.promotion
    if promotion is None:
        return None
    tell(PhaseProgress("Gating", 0, 0))
    incumbent = find_incumbent(share, promotion.model, trained.loop, trained.after)
    return Contest(promotion, incumbent, share.promotes)


def _decision(share: Share, report: EvaluationReport | None) -> GateDecision | None:
    promotion = share.spec.promotion
    if promotion is not None and report is None:
        return not_comparable(promotion, None, "spec.evaluation.enabled is false, so there is nothing to decide by.")
    return None if report is None else report.gate


def _evaluate(
    share: Share, trained: Trained, artifact: ArtifactRef, known: tuple[Measurement, ...], tell: TellPhase
) -> EvaluationReport:
    """Draw and measure base and tuned."""
    spec, key = share.spec, inputs_digest(share, artifact.digest)
    earlier = earlier_report(share.store, key)
    if earlier is not None:
        return earlier

    def on_progress(done: int, total: int) -> None:
        if tell(PhaseProgress("Evaluating", done, total)):
            raise Interrupted("Stopped while evaluating; the artifact is complete.", hint="Run the same command again.")

    rivals, manifest = spec.evaluation.rivals, read(share.manifest_folder)
    exam = Exam(
        settings=spec.evaluation,
        image=spec.dataset.image,
        held_out=manifest.held_out,
        learned=manifest.train,
        rivals={} if rivals is None else captioned_pictures(Path(rivals), spec.dataset.image),
        measured=known,
        artifact=artifact.digest,
        contest=_contest(share, trained, tell),
        inputs=key,
    )
    return evaluate(_models(share, trained.original, trained.loop), exam, share.store, on_progress)
