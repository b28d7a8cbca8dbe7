"""LoRA in a UNet or text encoder through peft: fp32 masters, weights drawn from seed and layer name alone.

Low-Rank Adaptation, Hu et al., arXiv 2106.09685.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor, nn
from transformers import CLIPTextModel

from diptych_api.errors import AdapterInvalid, SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import AdapterWeights, lora_scale
from diptych_diffusion.draws import seed64
from diptych_diffusion.lora_dropout import KeyedDropout
from diptych_diffusion.lora_layers import adaptable, find_misfit, matching, network_name, short_name

ADAPTER: Final = "default"
Network: TypeAlias = UNet2DConditionModel | CLIPTextModel


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """How many parameters are trained, and of how many."""

    trainable: int
    total: int

    @property
    def percent(self) -> float:
        """Return the trained share of all parameters, the adapter's included, in percent."""
        return 100 * self.trainable / self.total


def inject(network: Network, lora: LoRA, seed: int) -> None:
    """Add a LoRA named "default" to the network in place and freeze everything else.

    A is Kaiming-uniform with a = sqrt(5), peft's default: uniform in ±1/sqrt(inputs). B is zero, so the output is
    still the base's. Both are float32 whatever the network's dtype: in bfloat16 most steps would be rounded away. The
    global random state is left alone. With dropout, `set_dropout_keys` must name the samples before each forward.

    Raises:
        SpecInvalid: a target that matches no layer.

    """
    targets = list(lora.target_modules)
    if missing := [target for target in targets if not matching(network, [target])]:
        names = sorted({short_name(name) for name in adaptable(network)})
        raise SpecInvalid(
            f"spec.lora.targetModules: no layer of the {network_name(network)} is named {', '.join(missing)}.",
            hint=f"Layers there are: {', '.join(names)}.",
        )
    layers = matching(network, targets)
    _add(network, layers, rank=lora.rank, alpha=lora.alpha, rslora=lora.use_rslora, dora=lora.use_dora)
    for name, layer in _layers(network):
        _draw(layer, seed64("lora", seed, name))
        if lora.dropout:
            layer.lora_dropout[ADAPTER] = KeyedDropout(lora.dropout, name)


def attach(network: Network, weights: AdapterWeights) -> None:
    """Add a loaded adapter to the network in place, as "default". Raises AdapterInvalid when it does not fit."""
    if misfit := find_misfit(network, weights):
        raise AdapterInvalid(f"The adapter {misfit}.", hint="Use the base that it was made for.")
    _add(network, weights.layers(), rank=weights.rank, alpha=weights.alpha, rslora=weights.rslora, dora=weights.dora)
    load_adapter_state(network, weights.state)


def attach_all(unet: UNet2DConditionModel, text_encoder: CLIPTextModel, weights: AdapterWeights) -> None:
    """Add a loaded adapter to the UNet and, where it has a part for it, to the text encoder, as attach does."""
    attach(unet, weights)
    if weights.text_encoder is not None:
        attach(text_encoder, weights.text_encoder)


def detach(network: Network) -> None:
    """Take the adapter away: the network is what it was before."""
    recurse_remove_peft_layers(network)
    del network.peft_config
    network._hf_peft_config_loaded = False  # noqa: SLF001 -- transformers takes adapters away by name alone


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
def load_adapter_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy weights into the adapter that is there. Raises AdapterInvalid unless all names and shapes agree."""
    own, kind = own_state(network), network_name(network)
    if strangers := own.keys() ^ state.keys():
        key = min(strangers)
        where = f"the {kind}'s adapter" if key in own else "the given weights"
        raise AdapterInvalid(f"Adapters differ in {len(strangers)} names: {key} is in {where} only.")
    for key, tensor in own.items():
        if tensor.shape != state[key].shape:
            raise AdapterInvalid(f"{key} has shape {list(state[key].shape)}; the {kind} needs {list(tensor.shape)}.")
    for key, tensor in own.items():
        tensor.copy_(state[key])


@contextmanager
def set_enabled(*networks: nn.Module, enabled: bool) -> Iterator[None]:
    """Switch the adapters on or off for the block: off shows the base. What is trained stays trained after it."""
    layers = [layer for network in networks for _, layer in _layers(network)]
    before = [layer.disable_adapters for layer in layers]
    trained = [(parameter, parameter.requires_grad) for network in networks for parameter in network.parameters()]
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


def _add(network: Network, layers: list[str], *, rank: int, alpha: float, rslora: bool, dora: bool) -> None:
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft says int and computes with any number
        target_modules=layers,
        use_rslora=rslora,
        use_dora=dora,
    )
    with torch.random.fork_rng(devices=[]):
        network.add_adapter(config, ADAPTER)
    for _, parameter in trainable(network):
        parameter.data = parameter.data.float()
    for _, layer in _layers(network):
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


def _layers(network: nn.Module) -> list[tuple[str, LoraLayer]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, LoraLayer)]
