"""What is trained: UNet and text encoder with an adapter, a whole UNet, or a new UNet and its text encoder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import Parameter
from transformers import CLIPTextModel

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion import lora, lora_linear
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.adapter_weights import text_settings
from diptych_diffusion.components import Components
from diptych_diffusion.draws import seed64
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.lora_start import start_all_from
from diptych_training.acceleration import accelerate


@dataclass(frozen=True)
class Trainee:
    """The modules of one worker and the parameters that learn, by name. Trained parameters are fp32."""

    unet: nn.Module
    text_encoder: nn.Module | None
    parameters: dict[str, Parameter]
    compute_dtype: torch.dtype
    device: torch.device
    has_dropout: bool = False
    """Whether the adapter drops inputs; their choice is keyed by sample."""

    def frozen(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that must not change while training."""
        learning = {id(p) for p in self.parameters.values()}
        modules = {"unet": self.unet, "text_encoder": self.text_encoder}
        for name, module in modules.items():
            if module is not None:
                tensors = chain(module.named_parameters(), module.named_buffers())
                yield from ((f"{name}.{key}", t) for key, t in tensors if id(t) not in learning)

    def frozen_digest(self) -> str:
        """Return a hash over every tensor that must not change while training."""
        return weights_digest({name: tensor.detach().cpu() for name, tensor in self.frozen()})

    def within(self, base: Components) -> Components:
        """Return the base's parts with what is trained in their place."""
        text_encoder = cast("CLIPTextModel", self.text_encoder or base.text_encoder)
        return replace(base, unet=cast("UNet2DConditionModel", self.unet), text_encoder=text_encoder)

    def train(self, *, on: bool) -> None:
        """Switch dropout on or off."""
        self.unet.train(on)
        if self.text_encoder is not None:
            self.text_encoder.train(on)


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the frozen parts and of autocast: auto is bf16 on a GPU that has it, else fp32."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def build_trainee(spec: FineTuneJobSpec, components: Components, device: torch.device) -> Trainee:
    """Return the modules on ``device`` with exactly the parameters of the method set to learn.

    ``spec.lora.init_from``, where it is set, is a path on this machine.
    """
    dtype = compute_dtype(spec.training.precision, device)
    if spec.method == "LoRA":
        networks = _adapted(spec, components, device, dtype)
        learning = {f"{name}.{key}": p for name, network in networks.items() for key, p in lora.trainable(network)}
    else:
        networks = _whole(spec, components, device)
        learning = {f"{name}.{key}": p for name, network in networks.items() for key, p in network.named_parameters()}
    unet, text_encoder = networks["unet"], networks.get("text_encoder")
    for parameter in learning.values():
        parameter.requires_grad_(True)
    accelerate(cast("UNet2DConditionModel", unet), spec)
    has_dropout = spec.method == "LoRA" and spec.lora.dropout > 0
    return Trainee(unet, text_encoder, dict(sorted(learning.items())), dtype, device, has_dropout)


def _adapted(
    spec: FineTuneJobSpec, components: Components, device: torch.device, dtype: torch.dtype
) -> dict[str, nn.Module]:
    """Return the networks with fresh adapters, or with the one that the job goes on from."""
    unet, text_encoder = components.denoiser.to(device, dtype), None
    lora.inject(unet, spec.lora, spec.training.seed)
    if spec.lora.text_encoder_rank:
        text_encoder = components.text_encoder
        cast("nn.Module", text_encoder).to(device, dtype)
        lora.inject(text_encoder, text_settings(spec.lora), spec.training.seed)
    if spec.lora.init_from is not None:
        weights = load_adapter(Path(spec.lora.init_from))
        start_all_from(unet, text_encoder, weights, spec.lora, f"sha256:{components.digest}")
    if spec.training.compile == "Off":  # a compiler sees more of peft's own steps
        for network in filter(None, (unet, text_encoder)):
            lora_linear.fuse(cast("nn.Module", network))
    return {"unet": unet} if text_encoder is None else {"unet": unet, "text_encoder": text_encoder}


def _whole(spec: FineTuneJobSpec, components: Components, device: torch.device) -> dict[str, nn.Module]:
    """Return the networks of which every weight learns."""
    unet = new_unet(spec, components) if spec.method == "FromScratch" else components.denoiser
    networks: dict[str, nn.Module] = {"unet": unet.to(device, torch.float32)}
    if spec.training.train_text_encoder:
        networks["text_encoder"] = cast("nn.Module", components.text_encoder).to(device)
    return networks


def new_unet(spec: FineTuneJobSpec, components: Components) -> UNet2DConditionModel:
    """Return the UNet of ``spec.unet`` with seeded weights, whatever torch drew before.

    Raises:
        SpecInvalid: when its cross-attention does not fit the text encoder.

    """
    shape = spec.unet
    width = int(components.text_encoder.config.hidden_size)
    if shape is None or shape.cross_attention_dim != width:
        given = None if shape is None else shape.cross_attention_dim
        raise SpecInvalid(
            f"spec.unet.crossAttentionDim: {given} does not fit the text encoder, whose output is {width} wide.",
            hint=f"Set it to {width}.",
        )
    vae = components.vae.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed64(spec.training.seed, "unet"))
        return UNet2DConditionModel(
            sample_size=spec.dataset.image.size // 2 ** (len(vae.block_out_channels) - 1),
            in_channels=vae.latent_channels,
            out_channels=vae.latent_channels,
            **shape.model_dump(),
        )
