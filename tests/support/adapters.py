"""Adapters with an effect, for tiny pipelines."""

from pathlib import Path

import torch

from diptych_api.artifact import BaseRecord
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.lora import adapter_state, inject, trainable
from diptych_diffusion.pipeline import load


def random_adapter(pipeline: Path, *, seed: int = 1, lora: LoRA | None = None) -> AdapterWeights:
    """Return an adapter of random weights for the pipeline in a folder."""
    base, lora = load(pipeline), lora or LoRA(rank=4, alpha=8)
    inject(base.denoiser, lora, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trainable(base.denoiser):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    record = BaseRecord(source="huggingFace:somebody/model", revision="0" * 40, digest=f"sha256:{base.digest}")
    return AdapterWeights.of(adapter_state(base.denoiser), lora, record)


def saved_adapter(folder: Path, pipeline: Path, *, seed: int = 1) -> Path:
    """Write a random adapter in PEFT's form and return its folder."""
    save_peft(folder, random_adapter(pipeline, seed=seed))
    return folder
