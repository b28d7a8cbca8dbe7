"""Presets: recipes that are known to work, merged under the fields that a person set.

Values are those of the systems that the recipes come from, less their mistakes. Where a source says nothing, the
defaults of the spec stand.
"""

from collections.abc import Mapping
from typing import Any

from diptych_api.finetunejob import FineTuneJobSpec, Preset

Values = Mapping[str, Any]

LORA_R4: Values = {
    "method": "LoRA",
    "lora": {"rank": 4, "alpha": 4, "dropout": 0.01, "target_modules": ["to_k", "to_q", "to_v", "to_out.0"]},
    "dataset": {"image": {"size": 512, "crop": "Center"}, "caption_policy": "All"},
    "training": {"steps": 1000, "batch_size": 1, "learning_rate": 1e-4, "ema": {"enabled": False}},
}

# The source asks for xformers; `auto` takes the fastest attention that the machine has.
LORA_R16: Values = {
    "method": "LoRA",
    "lora": {"rank": 16, "alpha": 16, "dropout": 0, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"]},
    "dataset": {"image": {"size": 512, "crop": "Center"}},
    "training": {
        "steps": 3000,
        "batch_size": 4,
        "learning_rate": 1e-4,
        "lr_schedule": "Constant",
        "warmup_steps": 200,
        "optimizer": {"betas": (0.9, 0.999), "weight_decay": 1e-2},
        "precision": "bf16",
        "seed": 42,
        "ema": {"enabled": False},
        "checkpoint": {"every_steps": 500},
    },
    "evaluation": {"inference_steps": 30, "guidance_scale": 7.5, "scheduler": "DDIM", "seed": 1234},
}

# For distilled bases, which draw in one to four steps without guidance. The source stopped on the training loss of
# 100 pictures after two epochs without a fall; here it is the validation loss, once per 100 steps.
STYLE_R8: Values = {
    "method": "LoRA",
    "lora": {"rank": 8, "alpha": 16, "dropout": 0.1},
    "dataset": {"image": {"size": 512, "crop": "Stretch"}},
    "training": {
        "epochs": 30,
        "batch_size": 1,
        "learning_rate": 1e-4,
        "optimizer": {"weight_decay": 0.01},
        "ema": {"enabled": False},
        "checkpoint": {"every_steps": 500},
        "validation": {"every_steps": 100},
        "early_stopping": {"enabled": True, "patience": 2},
    },
    "evaluation": {"inference_steps": 4, "guidance_scale": 0, "scheduler": "Euler"},
}

# Warm-up is 5 % of three epochs over 31,783 pictures in batches of 8. The source drew one of five captions once, at
# the start; here each visit draws anew.
FLICKR30K_FULL: Values = {
    "method": "FullUNet",
    "dataset": {
        "layout": "CaptionTable",
        "image_column": "image",
        "caption_column": "caption",
        "caption_policy": "PerEpoch",
        "image": {"size": 128, "crop": "Stretch"},
    },
    "training": {
        "epochs": 3,
        "batch_size": 8,
        "micro_batch_size": 1,
        "learning_rate": 1e-6,
        "lr_schedule": "Cosine",
        "warmup_steps": 596,
        "optimizer": {"weight_decay": 1e-2},
        "max_grad_norm": 5,
        "ema": {"enabled": False},
        "checkpoint": {"every_steps": 500},
        "gradient_checkpointing": True,
    },
}

# Two workers with four samples each. The source's crossAttentionDim of 512 does not fit its text encoder, which is
# 768 wide. It trained in fp16; `auto` takes the best that the device can do.
FLOWERS_SCRATCH: Values = {
    "method": "FromScratch",
    "unet": {
        "block_out_channels": [64, 128, 256],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 12,
        "norm_num_groups": 32,
        "dropout": 0.1,
        "act_fn": "silu",
        "time_embedding_type": "positional",
    },
    "dataset": {
        "layout": "Sidecar",
        "split": {"train_range": (0, 500), "validation_range": (500, 550)},
        "image": {"size": 128, "crop": "Stretch", "horizontal_flip": True},
    },
    "training": {
        "epochs": 20,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "lr_schedule": "Constant",
        "warmup_steps": 500,
        "optimizer": {"betas": (0.9, 0.999), "weight_decay": 1e-2, "epsilon": 1e-8},
        "max_grad_norm": 1,
        "caption_dropout": 0.1,
        "ema": {"enabled": True, "decay": 0.9999},
        "validation": {"every_steps": 63},
        "early_stopping": {"enabled": True, "patience": 10},
        "sharding": "OptimizerAndGradients",
    },
}

DISTILLED: Values = {"evaluation": {"inference_steps": 4, "guidance_scale": 0, "scheduler": "Euler"}}

PRESETS: dict[Preset, Values] = {
    "lora-r4": LORA_R4,
    "lora-r16": LORA_R16,
    "style-r8": STYLE_R8,
    "flickr30k-full": FLICKR30K_FULL,
    "flowers-scratch": FLOWERS_SCRATCH,
}

# Fields that exclude each other: whoever sets one way drops the preset's other ways.
ALTERNATIVES: tuple[tuple[frozenset[str], ...], ...] = (
    (frozenset({"steps"}), frozenset({"epochs"})),
    (frozenset({"fraction"}), frozenset({"count"}), frozenset({"train_range", "validation_range"})),
)


def resolve(spec: FineTuneJobSpec) -> FineTuneJobSpec:
    """Return the spec with the preset's values under the fields that were set; the preset's name is kept.

    A base that is distilled to draw in a few steps is evaluated as it draws, whatever the preset says. Rules that a
    preset softens are checked in full. Raises pydantic's ValidationError when preset and fields do not fit together.
    """
    recipe = PRESETS[spec.preset] if spec.preset is not None else {}
    below = _merge(recipe, DISTILLED) if spec.base.is_distilled else recipe
    if not below:
        return spec
    given = spec.model_dump(exclude_unset=True, exclude_none=True, exclude={"preset"})
    complete = FineTuneJobSpec.model_validate(_merge(below, given))
    return complete.model_copy(update={"preset": spec.preset}) if spec.preset is not None else complete


def _merge(below: Values, above: Values) -> dict[str, Any]:
    kept = {name: value for name, value in below.items() if name not in _displaced(set(above))}
    for name, value in above.items():
        under = kept.get(name)
        kept[name] = _merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return kept


def _displaced(names: set[str]) -> set[str]:
    displaced: set[str] = set()
    for ways in ALTERNATIVES:
        chosen = [way for way in ways if way & names]
        if chosen:
            displaced |= set[str]().union(*ways) - set[str]().union(*chosen)
    return displaced
