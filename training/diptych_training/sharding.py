"""Optimiser and gradients divided among the workers: ZeRO, stage 2 (Rajbhandari et al., arXiv 1910.02054).

Every worker keeps all weights, but gradients and moments of its own share only. A gradient goes to its owner as soon as
the backward pass has it; after the owner's update the weights go back to all.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from diptych_training.batch import Batch


def owners_of(parameters: Mapping[str, Parameter], world: int) -> list[int]:
    """Return which worker owns each parameter: the largest first, each to whoever has least; the same on all."""
    loads, owners = [0] * world, [0] * len(parameters)
    sizes = [p.numel() for p in parameters.values()]
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += sizes[index]
    return owners


class Shards:
    """One worker's share of gradients and moments. All workers call all methods at the same time."""

    def __init__(self, parameters: Mapping[str, Parameter], rank: int, world: int) -> None:
        self.parameters = list(parameters.values())
        self.rank = rank
        self.owners = owners_of(parameters, world)
        self.mine = {name: p for (name, p), o in zip(parameters.items(), self.owners, strict=True) if o == rank}
        self._sums: dict[Tensor, Tensor] = {}
        self._idle: Batch | None = None
        for parameter, owner in zip(self.parameters, self.owners, strict=True):
            parameter.register_post_accumulate_grad_hook(self._handing_over(owner))

    def _handing_over(self, owner: int) -> Callable[[Tensor], None]:
        def hand_over(parameter: Tensor) -> None:
            grad, parameter.grad = parameter.grad, None
            if grad is None:
                return
            dist.reduce(grad, owner)
            if owner == self.rank:
                self._sums[parameter] = self._sums[parameter] + grad if parameter in self._sums else grad

        return hand_over

    def in_step(self, batches: list[Batch], device: torch.device) -> list[Batch]:
        """Return as many micro-batches as the worker that has most: a backward pass is one of all workers.

        What is added counts nothing. A worker has a sample in its first step, because a batch has one for each.
        """
        most = torch.tensor(len(batches), device=device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        if batches:
            self._idle = replace(batches[0], weight_B=torch.zeros_like(batches[0].weight_B))
        return batches + [self._idle] * (int(most) - len(batches)) if self._idle is not None else batches

    def take_gradients(self) -> None:
        """Put the sums over all workers in place of this share's gradients."""
        for parameter in self.parameters:
            parameter.grad = self._sums.pop(parameter, None)

    def norm(self) -> Tensor:
        """Return the norm of the gradients of all shares together."""
        norms = torch.zeros(len(self.parameters), device=self.parameters[0].device)
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                norms[index] = torch.linalg.vector_norm(parameter.grad)
        dist.all_reduce(norms)
        norm: Tensor = torch.linalg.vector_norm(norms)
        return norm

    @torch.no_grad()
    def spread_weights(self) -> None:
        """Give every worker the weights that their owners have updated."""
        waiting = [
            dist.broadcast(parameter.data, owner, async_op=True)
            for parameter, owner in zip(self.parameters, self.owners, strict=True)
        ]
        for work in waiting:
            if work is not None:
                work.wait()

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of all shares on the first worker, and nothing on the others, one tensor at a time."""
        listed: list[list[tuple[str, torch.Size, torch.dtype]]] = [[]] * dist.get_world_size()
        dist.all_gather_object(listed, [(name, tensor.shape, tensor.dtype) for name, tensor in own.items()])
        device = self.parameters[0].device
        if self.rank > 0:
            for tensor in own.values():
                dist.send(tensor.to(device), 0)
            return {}
        everything = dict(own)
        for owner, entries in enumerate(listed[1:], start=1):
            for name, shape, dtype in entries:
                tensor = torch.empty(shape, dtype=dtype, device=device)
                dist.recv(tensor, owner)
                everything[name] = tensor.cpu()
        return everything
