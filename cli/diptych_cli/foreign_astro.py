"""The training file of Astro-Diffusion (KSV2001/astro_diffusion, configs/sft_sd15.yaml)."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from diptych_cli.foreign import SD15, Foreign, Imported, Values, pruned

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SD15_NAMES = ("runwayml/stable-diffusion-v1-5", SD15["repo"])


class _Model(Foreign):
    base: str
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    cache_dir: str | None = None


class _Data(Foreign):
    train_manifest: str
    val_manifest: str
    image_size: int = 512
    num_workers: int = 4


class _Train(Foreign):
    output_dir: str = "outputs/"
    batch_size: int = 4
    grad_accum: int = 1
    max_steps: int = 3000
    lr: float = 1e-4
    lr_warmup_steps: int = 200
    checkpoint_every: int = 500
    enable_ema: bool = False
    use_lora: bool = True
    lora_r: int = 16
    lora_alpha: float = 16
    lora_dropout: float = 0
    gradient_checkpointing: bool = False
    use_8bit_adam: bool = False
    log_every: int = 50
    use_xformers: bool = True
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)


class AstroFile(Foreign):
    """The whole file."""

    seed: int
    model: _Model
    data: _Data
    train: _Train

    def imported(self) -> Imported:
        """Return the job that it describes."""
        train, manifest = self.train, PurePosixPath(self.data.train_manifest)
        lora = {"rank": train.lora_r, "alpha": train.lora_alpha, "dropout": train.lora_dropout}
        spec = {
            "base": self._base(),
            "method": "LoRA" if train.use_lora else "FullUNet",
            "lora": lora if train.use_lora else None,
            "dataset": {
                "source": {"uri": str(manifest.parent)},
                "layout": "JsonLines",
                "imageColumn": "path",
                "captionColumn": "caption",
                "split": {"fraction": 0.1},
                "image": {"size": self.data.image_size, "crop": "Center"},
            },
            "training": self._training(),
            "evaluation": {"inferenceSteps": 30, "guidanceScale": 7.5, "scheduler": "DDIM", "seed": 1234},
            "output": {"uri": train.output_dir},
            "resources": {"gpusPerWorker": 1},
        }
        return Imported("sft-sd15", pruned(spec), list(self._notes()))

    def _base(self) -> Values:
        name = self.model.base
        if name in SD15_NAMES:
            return {"huggingFace": SD15}
        if HUB_NAME.fullmatch(name) and not name.endswith("/"):
            return {"huggingFace": {"repo": name}}
        return {"uri": name}

    def _training(self) -> Values:
        train = self.train
        return {
            "steps": train.max_steps,
            "batchSize": train.batch_size * train.grad_accum,
            "microBatchSize": train.batch_size if train.grad_accum > 1 else None,
            "learningRate": train.lr,
            "warmupSteps": train.lr_warmup_steps,
            "optimizer": {
                "name": "AdamW8bit" if train.use_8bit_adam else None,
                "betas": list(train.betas),
                "weightDecay": train.weight_decay,
            },
            "precision": self.model.dtype,
            "seed": self.seed,
            "ema": {"enabled": train.enable_ema},
            "checkpoint": {"everySteps": train.checkpoint_every},
            "gradientCheckpointing": train.gradient_checkpointing or None,
        }

    def _notes(self) -> Iterator[str]:
        yield (
            f"data.val_manifest: {self.data.val_manifest} is not read; a tenth of the training manifest is held out "
            "(spec.dataset.split)."
        )
        yield "data.num_workers, train.log_every: not needed; pictures are encoded once, every step is logged."
        if self.train.use_xformers:
            yield "train.use_xformers: spec.training.attention stays auto, the fastest that PyTorch itself has."
        if self.model.cache_dir is not None:
            yield "model.cache_dir: bases are kept below spec.output."
