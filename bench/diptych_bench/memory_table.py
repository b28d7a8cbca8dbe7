"""What jobs of the usual bases need of a GPU, computed without weights: memory, and operations a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_bench.figures import save, show
from diptych_bench.machine import this_machine, watched
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.components import Components
from diptych_diffusion.tokenizer_files import load_tokenizer
from diptych_training.memory import META, Memory, memory_of
from diptych_training.trainee import Trainee

UNET: Final[dict[str, Any]] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
}
VAE: Final[dict[str, Any]] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A base by its published shape."""

    name: str
    unet: dict[str, Any]
    text: dict[str, Any]

    def skeleton(self) -> Components:
        """Return its parts without weights."""
        place = builtin_folder("tiny-emoji")
        with META:
            unet, vae = UNet2DConditionModel(**self.unet), AutoencoderKL(**VAE)
            text = CLIPTextModel(CLIPTextConfig(max_position_embeddings=77, **self.text))
        return Components(unet, vae, text, load_tokenizer(place / "tokenizer"), {}, Path(), {})


SD1: Final = Model(
    "Stable Diffusion 1.x",
    {**UNET, "cross_attention_dim": 768, "attention_head_dim": 8},
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
)
SD2: Final = Model(
    "Stable Diffusion 2.x, sd-turbo",
    {
        **UNET,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
)
JOBS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("LoRA r16, batch 1", {"training": {"batchSize": 1}}),
    ("LoRA r16, batch 4", {"training": {"batchSize": 4}}),
    ("LoRA r16, batch 4, checkpointing", {"training": {"batchSize": 4, "gradientCheckpointing": True}}),
    ("LoRA r16 + text r4, batch 4", {"training": {"batchSize": 4}, "lora": {"textEncoderRank": 4}}),
    ("FullUNet, batch 1", {"method": "FullUNet", "training": {"batchSize": 1}}),
    (
        "FullUNet, batch 4, AdamW8bit, checkpointing",
        {
            "method": "FullUNet",
            "training": {"batchSize": 4, "optimizer": {"name": "AdamW8bit"}, "gradientCheckpointing": True},
        },
    ),
)


def memory_table() -> None:
    """Compute, print and save."""
    rows = []
    with watched() as weather:
        for model in (SD1, SD2):
            for name, changes in JOBS:
                memory, trainee = memory_of(_spec(changes), model.skeleton())
                rows.append(_row(model, name, memory, trainee))
                print(rows[-1], flush=True)
    columns = ("base", "job, 512², bf16", "GB", "weights", "gradients", "optimiser", "average", "activations", "TFLOP")
    show("memory of a GPU, and operations a picture", columns, [tuple(row.values()) for row in rows])
    print(save("memory-table", this_machine(), weather, {"rows": rows}))


def _spec(changes: dict[str, Any]) -> FineTuneJobSpec:
    fields = {
        "base": {"uri": "base"},
        "dataset": {"source": {"uri": "pictures"}, "image": {"size": 512}},
        "resources": {"gpusPerWorker": 1},
        **changes,
    }
    return resolve(FineTuneJobSpec.model_validate(fields))


def _row(model: Model, job: str, memory: Memory, trainee: Trainee) -> dict[str, Any]:
    parts = ("total", "weights", "gradients", "optimizer", "average", "activations")
    gigabytes = {part: round(getattr(memory, part) / 1e9, 2) for part in parts}
    return {"base": model.name, "job": job, **gigabytes, "tflop": _tflop(model, trainee)}


def _tflop(model: Model, trainee: Trainee) -> float:
    """Return operations of a forward and backward pass of one picture, of the UNet alone, in 10¹²."""
    unet: Any = trainee.unet
    unet.disable_gradient_checkpointing()
    dtype = next(parameter.dtype for parameter in unet.parameters())
    noisy_BChw = torch.empty((1, 4, 64, 64), dtype=dtype, device=META)
    text_BLD = torch.empty((1, 77, model.unet["cross_attention_dim"]), dtype=dtype, device=META)
    with FlopCounterMode(display=False) as counter:
        unet(noisy_BChw, torch.zeros(1, dtype=torch.int64, device=META), text_BLD, return_dict=False)[
            0
        ].sum().backward()
    return round(float(counter.get_total_flops()) / 1e12, 3)
