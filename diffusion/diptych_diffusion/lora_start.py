"""A LoRA that goes on from an adapter that is there, whatever program made it."""

import torch

from diptych_api.errors import AdapterInvalid, SpecInvalid, UnsupportedHere
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import MAGNITUDE, A, AdapterWeights, B, text_settings
from diptych_diffusion.lora import Network, own_state, scaling
from diptych_diffusion.lora_layers import find_misfit, network_name

FIELD = "spec.lora.initFrom"


def start_all_from(
    unet: Network, text_encoder: Network | None, weights: AdapterWeights, lora: LoRA, base_digest: str
) -> None:
    """Fill the fresh adapters of both networks; ``text_encoder`` is None where the job leaves it alone.

    Raises as start_from does, and SpecInvalid for a part that the job has no place for.
    """
    start_from(unet, weights, lora, base_digest)
    if weights.text_encoder is None:
        return
    if text_encoder is None:
        raise SpecInvalid(
            f"{FIELD}: the adapter changes the text encoder too, which this job leaves alone.",
            hint=f"Set spec.lora.textEncoderRank: {weights.text_encoder.rank}, or more.",
        )
    start_from(text_encoder, weights.text_encoder, text_settings(lora), base_digest)


@torch.no_grad()
def start_from(unet: Network, weights: AdapterWeights, lora: LoRA, base_digest: str) -> None:
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


def _check(unet: Network, weights: AdapterWeights, lora: LoRA, base_digest: str) -> None:
    if weights.base is not None and weights.base.digest != base_digest:
        raise AdapterInvalid(
            f"{FIELD}: the adapter was made for {weights.base.source} ({weights.base.digest}), another base.",
            hint="Name that base in spec.base.",
        )
    if misfit := find_misfit(unet, weights):
        raise AdapterInvalid(f"{FIELD}: the adapter {misfit}.", hint="Name the base that it was made for in spec.base.")
    is_unet = network_name(unet) == "UNet"
    if weights.rank > lora.rank:
        field = "spec.lora.rank" if is_unet else "spec.lora.textEncoderRank"
        raise SpecInvalid(
            f"{FIELD}: the adapter has rank {weights.rank}, above {field}: {lora.rank}.",
            hint=f"Set {field}: {weights.rank}, or more.",
        )
    if weights.dora != lora.use_dora:
        kind, wanted = ("a DoRA", "true") if weights.dora else ("no DoRA", "false")
        raise SpecInvalid(f"{FIELD}: the adapter is {kind}.", hint=f"Set spec.lora.useDora: {wanted}.")
    if others := set(weights.layers()) - {key.partition(".lora_")[0] for key in own_state(unet)}:
        if not is_unet:
            raise UnsupportedHere(
                f"{FIELD}: the adapter changes {min(others)} of the text encoder.",
                hint=f"Of text encoders the attention's projections are trained: {', '.join(lora.target_modules)}.",
            )
        raise SpecInvalid(
            f"{FIELD}: the adapter changes {min(others)}, which spec.lora.targetModules does not name.",
            hint=f"Set spec.lora.targetModules to the adapter's: {', '.join(weights.target_modules)}.",
        )
