"""A complete diffusers pipeline folder from the parts of a model, readable without Diptych."""

import json
from pathlib import Path
from typing import Final

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from diptych_api.errors import ArtifactInvalid, BaseInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.model_files import no_progress_bar
from diptych_diffusion.pipeline import load
from diptych_diffusion.safe_files import read_json
from diptych_diffusion.schedulers import published_scheduler

PARTS: Final = ("unet", "vae", "text_encoder")
HINT: Final = "Keep the checkpoint, and report this: training should not end so."


def save_pipeline(folder: Path, parts: Components) -> None:
    """Write model_index.json, weights as safetensors, tokenizer and scheduler; the safety checker stays out.

    vocab.json and merges.txt lie beside tokenizer.json for programs on transformers 4.
    """
    pipeline = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.denoiser,
        scheduler=published_scheduler(parts.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with no_progress_bar():
        pipeline.save_pretrained(folder, safe_serialization=True)
    _write_vocabulary(folder / "tokenizer")


def check_pipeline(folder: Path, parts: Components) -> None:
    """Read the folder again and compare every weight. Raises ArtifactInvalid with the part that is not the same."""
    for name in PARTS:
        module: nn.Module = getattr(parts, name)
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ArtifactInvalid(f"{name}: {key} holds numbers that are not finite.", hint=HINT)
    try:
        saved = load(folder, dtype=parts.denoiser.dtype)
    except BaseInvalid as cause:
        raise ArtifactInvalid(f"The saved pipeline cannot be read again. {cause.message}", hint=HINT) from cause
    for name in PARTS:
        if weights_digest(getattr(saved, name)) != weights_digest(getattr(parts, name)):
            raise ArtifactInvalid(f"The saved {name} is not the one that was trained.", hint=HINT)
    prompt = "a cat, and 2 more"
    if saved.tokenizer(prompt)["input_ids"] != parts.tokenizer(prompt)["input_ids"]:
        raise ArtifactInvalid("The saved tokenizer is not the one that was used.", hint=HINT)


def _write_vocabulary(folder: Path) -> None:
    """Write vocab.json and merges.txt as tokenizer.json has them."""
    model = read_json(folder / "tokenizer.json")["model"]
    merges = (rule if isinstance(rule, str) else " ".join(rule) for rule in model["merges"])
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
