"""The check that an adapter must pass before a run may succeed: complete, finite, for this base, with an effect.

B = 1 sample, C = latent channels, H = W = 16, L = 8 tokens, D = width of the text encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from diptych_api.errors import AdapterInvalid, ArtifactInvalid, UnsupportedHere
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.adapter_weights import AdapterWeights, B, find_fault
from diptych_diffusion.lora import attach, detach, set_enabled
from diptych_diffusion.lora_layers import find_misfit, network_name

SIZE: Final = 16
TOKENS: Final = 8
TIMESTEP: Final = 500
N = TypeVar("N", UNet2DConditionModel, CLIPTextModel)
HINT: Final = "Keep the checkpoint, and report this: training should not end so."


@dataclass(frozen=True, slots=True)
class AdapterEvidence:
    """What the check saw."""

    layers: int
    parameters: int
    effect: float
    """‖adapted - base‖ / ‖base‖ of the UNet's output on one fixed random input."""
    text_effect: float | None = None
    """The same of the text encoder's output, where it is adapted."""


def check(
    weights: AdapterWeights, unet: UNet2DConditionModel, base_digest: str, text_encoder: CLIPTextModel | None = None
) -> AdapterEvidence:
    """Return the evidence that the adapter is sound; both networks are its base's without adapter, also afterwards.

    ``text_encoder`` is needed where the adapter has a part for it.

    Raises:
        ArtifactInvalid: empty, not finite, not this UNet's layers, another base, or no effect.

    """
    text = weights.text_encoder
    fault = find_fault(weights) or _base_problem(weights, base_digest) or find_misfit(unet, weights)
    if fault is None and text is not None:
        fault = "changes a text encoder" if text_encoder is None else find_misfit(text_encoder, text)
    if fault:
        raise ArtifactInvalid(f"The adapter {fault}.", hint=HINT)
    if not any(tensor.any() for key, tensor in weights.tensors().items() if key.endswith(B)):
        raise ArtifactInvalid("The adapter has no effect: all its B matrices are zero.", hint=HINT)
    return AdapterEvidence(
        layers=len(weights.layers()),
        parameters=sum(tensor.numel() for tensor in weights.tensors().values()),
        effect=_effect(weights, unet, _output),
        text_effect=None if text is None or text_encoder is None else _effect(text, text_encoder, _text_output),
    )


def check_saved(
    path: Path, unet: UNet2DConditionModel, base_digest: str, text_encoder: CLIPTextModel | None = None
) -> AdapterEvidence:
    """Read the adapter in a folder or file as a stranger would, and check it. Raises ArtifactInvalid."""
    try:
        weights = load_adapter(path)
    except (AdapterInvalid, UnsupportedHere) as cause:
        raise ArtifactInvalid(f"The saved adapter cannot be read again. {cause.message}", hint=HINT) from cause
    return check(weights, unet, base_digest, text_encoder)


def _base_problem(weights: AdapterWeights, base_digest: str) -> str | None:
    if weights.base is None:
        return "does not say which base it is for"
    if weights.base.digest != base_digest:
        return f"is for the base {weights.base.digest}, not for {base_digest}"
    return None


@torch.no_grad()
def _effect(weights: AdapterWeights, network: N, output: Callable[[N], Tensor]) -> float:
    was_training = network.training
    trained = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    attach(network.eval(), weights)
    try:
        adapted = output(network)
        with set_enabled(network, enabled=False):
            base = output(network)
    finally:
        detach(network)
        network.train(was_training)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
    effect = float((adapted - base).norm() / base.norm())
    if not 0 < effect < torch.inf:
        name = network_name(network)
        raise ArtifactInvalid(f"The adapter changes the {name}'s output by the factor {effect}.", hint=HINT)
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


def _text_output(text_encoder: CLIPTextModel) -> Tensor:
    """Return the text encoder's output in float32 for one row of tokens that is always the same."""
    random = torch.Generator().manual_seed(0)
    ids_BL = torch.randint(text_encoder.config.vocab_size, (1, TOKENS), generator=random)
    result: Tensor = text_encoder(ids_BL.to(text_encoder.device))[0].float()
    return result
