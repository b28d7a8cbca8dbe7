"""The version that an artifact would replace, loaded to answer the same prompts and the same held-out losses."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

import torch
from diffusers import UNet2DConditionModel

from diptych_api.after import Promotion
from diptych_api.artifact import FOLDERS
from diptych_api.diffusionmodel import ModelVersion
from diptych_api.errors import DiptychError
from diptych_api.runstore import ARTIFACT
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.components import Components
from diptych_diffusion.lora import attach_all
from diptych_diffusion.pipeline import load
from diptych_training.artifact import verify_artifact
from diptych_training.loop import Loop
from diptych_training.metrics import Measurement, paired
from diptych_training.promotion import rival_for
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from diptych_training.validation import validation_losses

BY_HAND: Final = "Promote by hand if it should be so: diptych promote."


@dataclass(frozen=True, slots=True)
class Incumbent:
    """A version that stands, or why it cannot be compared with."""

    run: str
    components: Components | None = None
    measured: tuple[Measurement, ...] = ()
    """Its figures as base, the candidate's as tuned."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """What an artifact must beat to be promoted: the current version or, where there is none, its own base."""

    promotion: Promotion
    incumbent: Incumbent | None = None
    promotes: bool = True
    """False where somebody else has the last word."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version's parts, and whether its text encoder is not the base's."""

    components: Components
    own_text: bool


def find_incumbent(share: Share, model: str, loop: Loop, candidate: Sequence[float]) -> Incumbent | None:
    """Return the version of a model that the run would replace; None where there is none.

    On a cluster also None where it cannot be read from here or does not fit into memory beside the run's own model: the
    DiffusionModel then compares the figures of both.
    ``candidate`` are the run's own held-out losses.
    """
    version = rival_for(share, model)
    if version is None or not (share.promotes or share.store.beside(version.run).uri(ARTIFACT) == version.uri):
        return None
    try:
        return _compared(share, version, loop, candidate)
    except torch.OutOfMemoryError:
        if share.promotes:
            raise
        torch.cuda.empty_cache()
        return None


def _compared(share: Share, version: ModelVersion, loop: Loop, candidate: Sequence[float]) -> Incumbent | None:
    try:
        found = _loaded(share.store, version, share.base_folder, loop.trainee.device)
    except (DiptychError, OSError) as error:
        if not share.promotes:
            return None
        return Incumbent(version.run, problem=f"{version.run}, the current version, cannot be read: {error} {BY_HAND}")
    if isinstance(found, str):
        return Incumbent(version.run, problem=found)
    losses = _losses(loop, found)
    measured = (paired("ValidationLoss", losses, candidate),) if losses else ()
    return Incumbent(version.run, found.components, measured)


def _loaded(store: RunStore, version: ModelVersion, base_folder: Path, device: torch.device) -> Version | str:
    """Return a version, or why it does not compare."""
    place = store.beside(version.run)
    folder = place.get_folder(ARTIFACT)
    try:
        record = verify_artifact(folder)
        base = load(base_folder, device=device, need_unet=record.method != "FromScratch")
        if record.base.digest != f"sha256:{base.digest}":
            return f"{version.run}, the current version, was made of another base: {record.base.source}. {BY_HAND}"
        if "Pipeline" in record.formats:
            whole = load(folder / FOLDERS["Pipeline"], device=device)
            own_text = whole.digests["text_encoder"] != base.digests["text_encoder"]
            return Version(whole, own_text and record.method == "FromScratch")
        weights = load_adapter(folder / FOLDERS["PEFT"])
        attach_all(base.denoiser, base.text_encoder, weights)
        for network in (base.denoiser, base.text_encoder):
            cast("torch.nn.Module", network).to(device)
        return Version(base, weights.text_encoder is not None)
    finally:
        if not place.is_local:
            shutil.rmtree(folder, ignore_errors=True)


def _losses(loop: Loop, version: Version) -> list[float]:
    """Return the version's held-out losses; none where the candidate's prompts are encoded without its text encoder."""
    components, reads_text = version.components, loop.trainee.text_encoder is not None
    if not loop.held_out or (version.own_text and not reads_text):
        return []
    text_encoder = components.text_encoder if reads_text else None
    trainee = replace(
        loop.trainee,
        unet=cast("UNet2DConditionModel", components.unet),
        text_encoder=cast("torch.nn.Module", text_encoder),
    )
    return validation_losses(trainee, loop.maker, loop.held_out, loop.training.validation.draws)
