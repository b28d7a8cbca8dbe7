"""Whole models beside the adapter of a run: merged into its base, and for ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diptych_api.artifact import FOLDERS, ArtifactFormat, BaseRecord
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.lora import attach_all
from diptych_diffusion.lora_merge import merged
from diptych_diffusion.pipeline import load
from diptych_training.pipeline_folder import check_pipeline, save_pipeline


def write_with_base(
    folder: Path, base: Path, weights: AdapterWeights, record: BaseRecord, forms: Sequence[ArtifactFormat]
) -> None:
    """Write the forms that hold adapter and base, in float32. Raises ArtifactInvalid where one is not the same."""
    if not {"Merged", "ONNX"} & set(forms):
        return
    model = load(base)
    attach_all(model.denoiser, model.text_encoder, weights)
    if "Merged" in forms:
        write_merged(folder / FOLDERS["Merged"], model)
    if "ONNX" in forms:
        write_graphs(folder / FOLDERS["ONNX"], model, record, f"sha256:{weights_digest(weights.tensors())}")


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
