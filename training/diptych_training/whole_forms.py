"""Whole models beside the adapter of a run: merged into its base, and for ONNX Runtime.

They are extras: one that cannot be made is left out with the reason, and what was trained is kept.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from diptych_api.artifact import FOLDERS, ArtifactFormat, BaseRecord
from diptych_api.errors import ArtifactInvalid
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.lora import attach_all
from diptych_diffusion.lora_merge import merged
from diptych_diffusion.pipeline import load
from diptych_training.pipeline_folder import check_pipeline, save_pipeline

WHOLE: Final[tuple[ArtifactFormat, ...]] = ("Merged", "ONNX")
LONGEST: Final = 250
Failed = dict[ArtifactFormat, str]
"""Why a form could not be made."""


def write_with_base(
    folder: Path, base: Path, weights: AdapterWeights, record: BaseRecord, forms: Sequence[ArtifactFormat]
) -> Failed:
    """Write the forms that hold adapter and base, in float32; return those that failed."""
    if not set(WHOLE) & set(forms):
        return {}
    model = load(base)
    attach_all(model.denoiser, model.text_encoder, weights)
    digest = f"sha256:{weights_digest(weights.tensors())}"
    writers: dict[ArtifactFormat, Callable[[Path], None]] = {
        "Merged": lambda place: write_merged(place, model),
        "ONNX": lambda place: write_graphs(place, model, record, digest),
    }
    return {form: why for form in WHOLE if form in forms and (why := _failure(folder / FOLDERS[form], writers[form]))}


def write_beside_pipeline(folder: Path, record: BaseRecord, forms: Sequence[ArtifactFormat]) -> Failed:
    """Write graphs of the pipeline that is in the folder, if asked; return what failed."""
    if "ONNX" not in forms:
        return {}
    model = load(folder / FOLDERS["Pipeline"])
    why = _failure(folder / FOLDERS["ONNX"], lambda place: write_graphs(place, model, record))
    return {"ONNX": why} if why else {}


def write_merged(place: Path, model: Components) -> None:
    """Write a pipeline of a model, its adapter merged, and read it again. Raises ArtifactInvalid."""
    parts = replace(model, unet=merged(model.denoiser), text_encoder=merged(model.text_encoder))
    save_pipeline(place, parts)
    check_pipeline(place, parts)


def write_graphs(place: Path, model: Components, record: BaseRecord, adapter: str | None = None) -> None:
    """Write a model for ONNX Runtime, its adapter merged. Raises ArtifactInvalid where a graph differs too much."""
    from diptych_diffusion.onnx_folder import write_onnx  # noqa: PLC0415 -- of an extra, for those who ask for it

    origin = {"base": record.source, "base_digest": record.digest, "adapter": adapter}
    write_onnx(place, model, origin, lambda _: None)


def _failure(place: Path, write: Callable[[Path], None]) -> str:
    """Write a folder; return why that failed, with nothing left of it, or an empty text."""
    try:
        write(place)
    except ArtifactInvalid as error:
        shutil.rmtree(place, ignore_errors=True)
        return error.message[:LONGEST]
    return ""
