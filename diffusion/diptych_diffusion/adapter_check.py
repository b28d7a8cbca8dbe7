"""The check that an adapter must pass before a run may succeed: complete, finite, for this base, with an effect.

B = 1 sample, C = latent channels, H = W = 16, L = 8 tokens, D = width of the text encoder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from diptych_api.errors import AdapterInvalid, ArtifactInvalid, UnsupportedHere
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.adapter_weights import AdapterWeights, B, find_fault
from diptych_diffusion.lora import attach, set_enabled
from diptych_diffusion.lora_layers import find_misfit

SIZE: Final = 16
TOKENS: Final = 8
TIMESTEP: Final = 500
HINT: Final = "Keep the checkpoint, and report this: training should not end so."


@dataclass(frozen=True, slots=True)
class AdapterEvidence:
    """What the check saw."""

    layers: int
    parameters: int
    effect: float
    """‖adapted - base‖ / ‖base‖ of the UNet's output on one fixed random input."""


def check(weights: AdapterWeights, unet: UNet2DConditionModel, base_digest: str) -> AdapterEvidence:
    """Return the evidence that the adapter is sound; ``unet`` is its base without adapter, and is so afterwards.

    Raises:
        ArtifactInvalid: empty, not finite, not this UNet's layers, another base, or no effect.

    """
    fault = find_fault(weights) or _base_problem(weights, base_digest) or find_misfit(unet, weights)
    if fault:
        raise ArtifactInvalid(f"The adapter {fault}.", hint=HINT)
    if not any(tensor.any() for key, tensor in weights.state.items() if key.endswith(B)):
        raise ArtifactInvalid("The adapter has no effect: all its B matrices are zero.", hint=HINT)
    return AdapterEvidence(
        layers=len(weights.layers()),
        parameters=sum(tensor.numel() for tensor in weights.state.values()),
        effect=_effect(weights, unet),
    )


def check_saved(path: Path, unet: UNet2DConditionModel, base_digest: str) -> AdapterEvidence:
    """Read the adapter in a folder or file as a stranger would, and check it. Raises ArtifactInvalid."""
    try:
        weights = load_adapter(path)
    except (AdapterInvalid, UnsupportedHere) as cause:
        raise ArtifactInvalid(f"The saved adapter cannot be read again. {cause.message}", hint=HINT) from cause
    return check(weights, unet, base_digest)


def _base_problem(weights: AdapterWeights, base_digest: str) -> str | None:
    if weights.base is None:
        return "does not say which base it is for"
    if weights.base.digest != base_digest:
        return f"is for the base {weights.base.digest}, not for {base_digest}"
    return None


@torch.no_grad()
def _effect(weights: AdapterWeights, unet: UNet2DConditionModel) -> float:
    was_training = unet.training
    trained = [(parameter, parameter.requires_grad) for parameter in unet.parameters()]
    attach(unet.eval(), weights)
    try:
        adapted_BCHW = _output(unet)
        with set_enabled(unet, enabled=False):
            base_BCHW = _output(unet)
    finally:
        unet.unload_lora()
        unet.train(was_training)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
    effect = float((adapted_BCHW - base_BCHW).norm() / base_BCHW.norm())
    if not 0 < effect < torch.inf:
        raise ArtifactInvalid(f"The adapter changes the UNet's output by the factor {effect}.", hint=HINT)
    return effect


def _output(unet: UNet2DConditionModel) -> Tensor:
    """Return the UNet's output in float32 for one random input that is always the same."""
    random = torch.Generator().manual_seed(0)
    width = unet.config["cross_attention_dim"]
    sample_BCHW = torch.randn((1, unet.config["in_channels"], SIZE, SIZE), generator=random)
    states_BLD = torch.randn((1, TOKENS, width), generator=random)
    device, dtype = unet.device, unet.dtype
    output = unet(sample_BCHW.to(device, dtype), TIMESTEP, states_BLD.to(device, dtype), return_dict=False)
    result: Tensor = output[0].float()
    return result
