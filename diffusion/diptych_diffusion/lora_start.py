"""A LoRA that goes on from an adapter that is there, whatever program made it."""

import torch
from diffusers import UNet2DConditionModel

from diptych_api.errors import AdapterInvalid, SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import MAGNITUDE, A, AdapterWeights, B
from diptych_diffusion.lora import own_state, scaling
from diptych_diffusion.lora_layers import find_misfit

FIELD = "spec.lora.initFrom"


@torch.no_grad()
def start_from(unet: UNet2DConditionModel, weights: AdapterWeights, lora: LoRA, base_digest: str) -> None:
    """Fill the fresh adapter that ``lora`` describes with a loaded one: its effect is then the loaded one's.

    Where alphas differ, the ratio of the scales moves into B. Layers that the loaded adapter lacks, and ranks above its
    own, stay fresh, without effect.

    Raises:
        AdapterInvalid: for an adapter of another base.
        SpecInvalid: when ``lora`` cannot hold it.

    """
    _check(unet, weights, lora, base_digest)
    own, rank, ratio = own_state(unet), weights.rank, weights.scale / scaling(lora)
    for layer in weights.layers():
        own[f"{layer}.{A}"][:rank].copy_(weights.state[f"{layer}.{A}"])
        own[f"{layer}.{B}"][:, :rank].copy_(weights.state[f"{layer}.{B}"] * ratio)
        if weights.dora:
            own[f"{layer}.{MAGNITUDE}"].copy_(weights.state[f"{layer}.{MAGNITUDE}"])


def _check(unet: UNet2DConditionModel, weights: AdapterWeights, lora: LoRA, base_digest: str) -> None:
    if weights.base is not None and weights.base.digest != base_digest:
        raise AdapterInvalid(
            f"{FIELD}: the adapter was made for {weights.base.source} ({weights.base.digest}), another base.",
            hint="Name that base in spec.base.",
        )
    if misfit := find_misfit(unet, weights):
        raise AdapterInvalid(f"{FIELD}: the adapter {misfit}.", hint="Name the base that it was made for in spec.base.")
    if weights.rank > lora.rank:
        raise SpecInvalid(
            f"{FIELD}: the adapter has rank {weights.rank}, above spec.lora.rank: {lora.rank}.",
            hint=f"Set spec.lora.rank: {weights.rank}, or more.",
        )
    if weights.dora != lora.use_dora:
        kind, wanted = ("a DoRA", "true") if weights.dora else ("no DoRA", "false")
        raise SpecInvalid(f"{FIELD}: the adapter is {kind}.", hint=f"Set spec.lora.useDora: {wanted}.")
    if others := set(weights.layers()) - {key.partition(".lora_")[0] for key in own_state(unet)}:
        raise SpecInvalid(
            f"{FIELD}: the adapter changes {min(others)}, which spec.lora.targetModules does not name.",
            hint=f"Set spec.lora.targetModules to the adapter's: {', '.join(weights.target_modules)}.",
        )
