"""What an adapter adds to the output of one layer, for rows of any strength.

Shapes: R rows, r rank, O outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from diptych_diffusion.adapter_weights import MAGNITUDE, A, AdapterWeights, B

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True, slots=True, eq=False)
class Magnitude:
    """DoRA's length of each weight vector, m, with what tells the length of W + s·U for every strength s.

    ‖W + s·U‖² = ‖W‖² + 2s·(W·U) + s²·‖U‖². Liu et al., arXiv 2402.09353.
    """

    m_O: Tensor
    ww_O: Tensor
    wu_O: Tensor
    uu_O: Tensor

    @classmethod
    def of(cls, m: Tensor, weight: Tensor, update_OI: Tensor) -> Self:
        """Return it for a layer's weight and the update at strength 1."""
        weight_OI, m_O = weight.detach().float().flatten(1), m.flatten().to(weight.device).float()
        products = (weight_OI * weight_OI, weight_OI * update_OI, update_OI * update_OI)
        return cls(m_O, *(product.sum(1) for product in products))

    def gain(self, strength: float) -> Tensor:
        """Return m / ‖W + s·U‖."""
        return self.m_O / (self.ww_O + 2 * strength * self.wu_O + strength**2 * self.uu_O).sqrt()


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """A ``[r, in, …]`` and B ``[out, r, …]`` of a layer, B times the adapter's scale; in the layer's dtype."""

    a: Tensor
    b: Tensor
    magnitude: Magnitude | None = None

    @classmethod
    def of(cls, weights: AdapterWeights, name: str, layer: Layer) -> Self:
        """Return an adapter's update of the layer of this name, on the layer's device."""
        a, b = weights.state[f"{name}.{A}"], weights.state[f"{name}.{B}"] * weights.scale
        there = a.to(layer.weight), b.to(layer.weight)
        if not weights.dora:
            return cls(*there)
        update_OI = (b.flatten(1) @ a.flatten(1)).to(layer.weight.device)
        magnitude = Magnitude.of(weights.state[f"{name}.{MAGNITUDE}"], layer.weight, update_OI)
        return cls(*there, magnitude)

    def add_to(self, output: Tensor, layer: Layer, x: Tensor, strength: float) -> None:
        """Turn what the layer makes of x into what it makes of it with the update."""
        if self.magnitude is None:
            output.add_(self._of(layer, x), alpha=strength)
            return
        gain = self._shaped(layer, self.magnitude.gain(strength).to(output.dtype))
        bias = 0 if layer.bias is None else self._shaped(layer, layer.bias)
        output.sub_(bias).add_(self._of(layer, x), alpha=strength).mul_(gain).add_(bias)

    def tensors(self) -> Iterator[Tensor]:
        """Yield what takes memory."""
        yield from (self.a, self.b)
        if self.magnitude is not None:
            yield from (self.magnitude.m_O, self.magnitude.ww_O, self.magnitude.wu_O, self.magnitude.uu_O)

    def _of(self, layer: Layer, x: Tensor) -> Tensor:
        """Return B·A·x."""
        if isinstance(layer, nn.Linear):
            return functional.linear(functional.linear(x, self.a), self.b)
        within = functional.conv2d(x, self.a, None, layer.stride, layer.padding, layer.dilation)
        return functional.conv2d(within, self.b)

    def _shaped(self, layer: Layer, vector_O: Tensor) -> Tensor:
        """Return a vector over the outputs as it meets them."""
        return vector_O if isinstance(layer, nn.Linear) else vector_O[:, None, None]
