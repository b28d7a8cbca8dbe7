"""The weights of transformers' CLIP under the names that open_clip has for them. It stands alone, as eval_ways.py."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

TOWERS: Final = {"vision_model": "visual.", "text_model": ""}
PLAIN: Final = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "logit_scale": "logit_scale",
}
TURNED: Final = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
NORMS: Final = {
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
LAYER: Final = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def as_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under open_clip's names; projections are turned, and q, k and v are one."""
    found = {theirs: state[ours] for ours, theirs in PLAIN.items()}
    found |= {theirs: state[ours].T for ours, theirs in TURNED.items()}
    for part in ("weight", "bias"):
        found |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for ours, theirs in NORMS.items()}
        for tower, before in TOWERS.items():
            for number in _layers(state, tower):
                ours, theirs = f"{tower}.encoder.layers.{number}", f"{before}transformer.resblocks.{number}"
                found |= {f"{theirs}.{b}.{part}": state[f"{ours}.{a}.{part}"] for a, b in LAYER.items()}
                three = [state[f"{ours}.self_attn.{x}_proj.{part}"] for x in "qkv"]
                found[f"{theirs}.attn.in_proj_{part}"] = torch.cat(three)
    return found


def _layers(state: Mapping[str, Tensor], tower: str) -> range:
    numbers = [int(name.split(".")[3]) for name in state if name.startswith(f"{tower}.encoder.layers.")]
    return range(max(numbers) + 1)
