"""LoRA in a UNet through peft: fp32 masters, weights drawn from the seed and the layer's name alone.

Low-Rank Adaptation, Hu et al., arXiv 2106.09685.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor, nn

from diptych_api.errors import AdapterInvalid, SpecInvalid, UnsupportedHere
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import AdapterWeights, lora_scale
from diptych_diffusion.draws import seed64
from diptych_diffusion.lora_dropout import KeyedDropout
from diptych_diffusion.lora_layers import adaptable, find_misfit, matching, short_name

ADAPTER: Final = "default"


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """How many parameters are trained, and of how many."""

    trainable: int
    total: int

    @property
    def percent(self) -> float:
        """Return the trained share of all parameters, the adapter's included, in percent."""
        return 100 * self.trainable / self.total


def inject(unet: UNet2DConditionModel, lora: LoRA, seed: int) -> None:
    """Add a LoRA named "default" to the UNet in place and freeze everything else.

    A is Kaiming-uniform with a = sqrt(5), peft's default: uniform in ±1/sqrt(inputs). B is zero, so the output is
    still the base's. Both are float32 whatever the UNet's dtype: in bfloat16 most steps would be rounded away. The
    global random state is left alone. With dropout, `set_dropout_keys` must name the samples before each forward.

    Raises:
        SpecInvalid: a target that matches no layer.
        UnsupportedHere: an update of the text encoder.

    """
    if lora.text_encoder_rank:
        raise UnsupportedHere(
            "spec.lora.textEncoderRank: this version adapts the UNet only.", hint="Remove the field or set it to 0."
        )
    targets = list(lora.target_modules)
    if missing := [target for target in targets if not matching(unet, [target])]:
        names = sorted({short_name(name) for name in adaptable(unet)})
        raise SpecInvalid(
            f"spec.lora.targetModules: no layer of the UNet is named {', '.join(missing)}.",
            hint=f"Layers there are: {', '.join(names)}.",
        )
    _add(unet, matching(unet, targets), rank=lora.rank, alpha=lora.alpha, rslora=lora.use_rslora, dora=lora.use_dora)
    for name, layer in _layers(unet):
        _draw(layer, seed64("lora", seed, name))
        if lora.dropout:
            layer.lora_dropout[ADAPTER] = KeyedDropout(lora.dropout, name)


def attach(unet: UNet2DConditionModel, weights: AdapterWeights) -> None:
    """Add a loaded adapter to the UNet in place, as "default". Raises AdapterInvalid when it does not fit."""
    if misfit := find_misfit(unet, weights):
        raise AdapterInvalid(f"The adapter {misfit}.", hint="Use the base that it was made for.")
    _add(unet, weights.layers(), rank=weights.rank, alpha=weights.alpha, rslora=weights.rslora, dora=weights.dora)
    load_adapter_state(unet, weights.state)


def trainable(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that are trained, sorted by name: a list, because an iterator is empty the second time."""
    return sorted((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)


def count_trainable(module: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for _, parameter in trainable(module))


def parameter_report(unet: nn.Module) -> ParameterReport:
    """Return the counts for the UNet with its adapter."""
    return ParameterReport(count_trainable(unet), sum(parameter.numel() for parameter in unet.parameters()))


def own_state(unet: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's own tensors, which a write changes, under peft's names without prefix."""
    state: dict[str, Tensor] = get_peft_model_state_dict(unet, adapter_name=ADAPTER, save_embedding_layers=False)
    return state


def adapter_state(unet: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the adapter's weights: float32, on the CPU, peft's names without prefix, sorted."""
    state = own_state(unet)
    return {key: state[key].detach().to("cpu", torch.float32, copy=True).contiguous() for key in sorted(state)}


@torch.no_grad()
def load_adapter_state(unet: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy weights into the adapter that is there. Raises AdapterInvalid unless all names and shapes agree."""
    own = own_state(unet)
    if strangers := own.keys() ^ state.keys():
        key = min(strangers)
        where = "the UNet's adapter" if key in own else "the given weights"
        raise AdapterInvalid(f"Adapters differ in {len(strangers)} names: {key} is in {where} only.")
    for key, tensor in own.items():
        if tensor.shape != state[key].shape:
            raise AdapterInvalid(f"{key} has shape {list(state[key].shape)}; the UNet needs {list(tensor.shape)}.")
    for key, tensor in own.items():
        tensor.copy_(state[key])


@contextmanager
def set_enabled(unet: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Switch the adapter on or off for the block: off shows the base. What is trained stays trained after it."""
    layers = [layer for _, layer in _layers(unet)]
    before = [layer.disable_adapters for layer in layers]
    trained = [(parameter, parameter.requires_grad) for parameter in unet.parameters()]
    try:
        for layer in layers:
            layer.enable_adapters(enabled)
        yield
    finally:
        for layer, was_off in zip(layers, before, strict=True):
            layer.enable_adapters(not was_off)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)


def scaling(lora: LoRA) -> float:
    """Return the factor of B·A: alpha / rank, with rsLoRA alpha / sqrt(rank)."""
    return lora_scale(lora.alpha, lora.rank, rslora=lora.use_rslora)


def _add(unet: UNet2DConditionModel, layers: list[str], *, rank: int, alpha: float, rslora: bool, dora: bool) -> None:
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft says int and computes with any number
        target_modules=layers,
        use_rslora=rslora,
        use_dora=dora,
    )
    with torch.random.fork_rng(devices=[]):
        unet.add_adapter(config, ADAPTER)
    for _, parameter in trainable(unet):
        parameter.data = parameter.data.float()
    for _, layer in _layers(unet):
        if dora:
            _set_magnitude(layer)


def _set_magnitude(layer: LoraLayer) -> None:
    """Set DoRA's magnitude to the exact norm of the weights: peft's has the base's dtype, off by up to 0.2 %."""
    magnitude = cast("DoraLinearLayer", layer.lora_magnitude_vector[ADAPTER])
    weight = layer.get_base_layer().get_parameter("weight").detach().float()
    magnitude.weight.data = magnitude.get_weight_norm(weight, torch.zeros((), device=weight.device), 0.0)


def _draw(layer: LoraLayer, seed: int) -> None:
    weight = layer.lora_A[ADAPTER].get_parameter("weight")
    if weight.is_meta:
        return
    drawn = torch.empty(weight.shape)
    nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=torch.Generator().manual_seed(seed))
    weight.data.copy_(drawn)


def _layers(unet: nn.Module) -> list[tuple[str, LoraLayer]]:
    return [(name, module) for name, module in unet.named_modules() if isinstance(module, LoraLayer)]
