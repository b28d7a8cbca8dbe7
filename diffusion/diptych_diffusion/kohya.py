"""Adapters as kohya's trainers and ComfyUI name them: `lora_unet_…` and `lora_te_…`, one alpha a layer."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_diffusion.adapter_weights import A, B

PREFIX = "lora_unet_"
TEXT_PREFIX = "lora_te_"
_NAMES = (
    *("down_blocks", "up_blocks", "mid_block", "transformer_blocks", "attentions", "resnets"),
    *("attn1", "attn2", "to_q", "to_k", "to_v", "to_out", "ff", "net", "proj", "proj_in", "proj_out"),
    *("conv", "conv1", "conv2", "conv_in", "conv_out", "conv_shortcut", "downsamplers", "upsamplers"),
    *("time_emb_proj", "time_embedding", "linear_1", "linear_2"),
)
_PART = re.compile("(?:" + "|".join([*sorted(_NAMES, key=len, reverse=True), r"\d+"]) + ")(?=_|$)")
_TEXT = re.compile(r"text_model_encoder_layers_(\d+)_(self_attn|mlp)_((?:q|k|v|out)_proj|fc[12])")
_SIDES = {"lora_down.weight": A, "lora_up.weight": B}


def to_kohya(state: Mapping[str, torch.Tensor], scale: float, prefix: str = PREFIX) -> dict[str, torch.Tensor]:
    """Return the tensors of a kohya file for ``state`` in peft's naming, of a text encoder with its prefix.

    Kohya multiplies by alpha / rank and knows no rsLoRA: alpha becomes ``scale`` · rank, so the effect stays.
    Raises UnsupportedHere for DoRA.
    """
    tensors: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        layer, _, side = key.partition(".lora_")
        name = prefix + layer.replace(".", "_")
        if side == "A.weight":
            tensors[f"{name}.lora_down.weight"] = tensor
            tensors[f"{name}.alpha"] = torch.tensor(scale * tensor.shape[0], dtype=torch.float32)
        elif side == "B.weight":
            tensors[f"{name}.lora_up.weight"] = tensor
        else:
            raise _no_dora()
    return tensors


def from_kohya(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Return the state in peft's naming and the alphas by layer, where the file has them.

    All are of the UNet or all of the text encoder. Raises AdapterInvalid or UnsupportedHere with the first key that is
    not a LoRA of a diffusers UNet or of a CLIP text encoder.
    """
    state: dict[str, torch.Tensor] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        name, _, part = key.removeprefix(PREFIX).partition(".")
        layer = text_layer_name(name) if name.startswith(TEXT_PREFIX) else layer_name(name)
        if part == "alpha" and tensor.numel() == 1:
            alphas[layer] = float(tensor)
        elif part in _SIDES:
            state[f"{layer}.{_SIDES[part]}"] = tensor
        elif part == "dora_scale":
            raise _no_dora()
        else:
            raise AdapterInvalid(f"Key {key} is no part of a LoRA.", hint="LoHa, LoKr and others are not supported.")
    return state, alphas


def layer_name(name: str) -> str:
    """Return `down_blocks.0.attentions.…to_q` for `down_blocks_0_attentions_…to_q`. Raises AdapterInvalid."""
    parts: list[str] = []
    at = 0
    while match := _PART.match(name, at):
        parts.append(match.group())
        at = match.end() + 1
    if at != len(name) + 1:
        raise AdapterInvalid(
            f"Key {PREFIX}{name} names no layer of a diffusers UNet.",
            hint="Layers must be named as diffusers does (down_blocks, not input_blocks).",
        )
    return ".".join(parts)


def text_layer_name(name: str) -> str:
    """Return `text_model.encoder.layers.0.self_attn.q_proj` for the same with underscores. Raises AdapterInvalid."""
    if not (match := _TEXT.fullmatch(name.removeprefix(TEXT_PREFIX))):
        raise AdapterInvalid(f"Key {name} names no layer of a CLIP text encoder.")
    return "text_model.encoder.layers.{}.{}.{}".format(*match.groups())


def even_out(
    state: Mapping[str, torch.Tensor], alphas: Mapping[str, float]
) -> tuple[dict[str, torch.Tensor], int, float]:
    """Return the state with one rank and one alpha for all layers, and both; layers without alpha have their rank.

    Where layers differ, zeros widen A and B to the largest rank and each layer's own scale moves into B: the product
    stays what it was. ``state`` holds both sides of every layer.
    """
    ranks = {key.removesuffix(f".{A}"): a.shape[0] for key, a in state.items() if key.endswith(A)}
    scales = {layer: alphas.get(layer, float(rank)) / rank for layer, rank in ranks.items()}
    rank = max(ranks.values())
    if len(set(ranks.values())) == 1 and len(set(scales.values())) == 1:
        return dict(state), rank, alphas.get(next(iter(ranks)), float(rank))
    even = dict(state)
    for layer, own in ranks.items():
        a, b = f"{layer}.{A}", f"{layer}.{B}"
        beyond = [0, 0] * (state[a].ndim - 2)
        even[a] = F.pad(state[a], [*beyond, 0, 0, 0, rank - own])
        even[b] = F.pad(state[b] * scales[layer], [*beyond, 0, rank - own])
    return even, rank, float(rank)


def _no_dora() -> UnsupportedHere:
    return UnsupportedHere(
        "A kohya file cannot hold a DoRA that other programs read alike.", hint="Use the PEFT or the diffusers format."
    )
