"""The layers of a UNet or a text encoder that a LoRA can adapt: their names, and whether an adapter fits them."""

from collections.abc import Iterable

from diffusers import UNet2DConditionModel
from peft.tuners.lora import LoraLayer
from torch import nn

from diptych_diffusion.adapter_weights import MAGNITUDE, A, AdapterWeights, B


def network_name(network: nn.Module) -> str:
    """Return what people call it."""
    return "UNet" if isinstance(network, UNet2DConditionModel) else "text encoder"


def adaptable(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers that can have a LoRA, by name, adapted ones included."""
    layers: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, module in network.named_modules():
        base = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if isinstance(base, nn.Linear | nn.Conv2d) and not _is_inside_adapter(name):
            layers[name] = base
    return layers


def matching(network: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return the names of the layers that are, or end in, one of the targets, as peft matches them."""
    wanted = tuple(targets)
    endings = tuple(f".{target}" for target in wanted)
    return [name for name in adaptable(network) if name in wanted or name.endswith(endings)]


def short_name(name: str) -> str:
    """Return the end of a layer's name that tells its kind: `to_q`, `to_out.0`."""
    head, _, last = name.rpartition(".")
    return f"{head.rpartition('.')[2]}.{last}" if last.isdigit() else last


def find_misfit(network: nn.Module, weights: AdapterWeights) -> str | None:
    """Return why the weights do not fit the network, in words that complete "the adapter …", or None.

    Every layer and shape must be the network's, and every layer that the targets name must have its update. The part
    for the text encoder is asked about by itself.
    """
    layers, kind = adaptable(network), network_name(network)
    for key, tensor in weights.state.items():
        layer, _, part = key.partition(".lora_")
        if layer not in layers:
            return f"has the layer {layer}, which this {kind} does not have"
        expected = _shapes(layers[layer], weights.rank)[f"lora_{part}"]
        if tensor.shape != expected:
            return f"has {key} of shape {list(tensor.shape)} where this {kind} needs {list(expected)}"
    missing = set(matching(network, weights.target_modules)) - set(weights.layers())
    return f"has no weights for the layer {min(missing)}, which its targets name" if missing else None


def _is_inside_adapter(name: str) -> bool:
    return ".lora_" in name or name.endswith(".base_layer")


def _shapes(layer: nn.Linear | nn.Conv2d, rank: int) -> dict[str, tuple[int, ...]]:
    out, inputs, *kernel = layer.weight.shape
    ones = [1] * len(kernel)
    return {A: (rank, inputs, *kernel), B: (out, rank, *ones), MAGNITUDE: (1, out, *ones) if kernel else (out,)}
