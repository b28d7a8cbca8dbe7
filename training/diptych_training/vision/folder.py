"""A network's folder: config.json that tells its kind, and weights as safetensors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

import torch
from torch import nn

from diptych_api.errors import BaseInvalid, SpecInvalid
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.safe_files import load_tensors, read_json

M = TypeVar("M", bound=nn.Module)
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, slots=True)
class NetworkFolder:
    """A folder and the kind of network that its config.json names, such as clip or dinov2."""

    path: Path
    kind: str
    field: str
    """The field of the spec that names the folder."""

    @classmethod
    def open(cls, location: str, field: str) -> Self:
        """Return the folder. Raises SpecInvalid where there is none, or none that tells its kind."""
        path = Path(location.removeprefix("file://"))
        if "://" in str(location) and not location.startswith("file://"):
            raise SpecInvalid(f"{field}: {location} is not on this machine.", hint="Copy the folder here first.")
        if not (path / "config.json").is_file():
            raise SpecInvalid(f"{field}: {path} has no config.json.", hint="See docs/guide/evaluate.md for its form.")
        return cls(path, str(read_json(path / "config.json", error=SpecInvalid).get("model_type")), field)

    def refused(self, *kinds: str) -> SpecInvalid:
        """Return the error for a network of another kind than these."""
        return SpecInvalid(f"{self.field}: {self.path} is of kind {self.kind}; {' and '.join(kinds)} are known.")

    def filled(self, network: M) -> tuple[M, str]:
        """Return a network with the folder's weights, and their digest. Raises SpecInvalid when they do not fit."""
        state = load_tensors(self.path / WEIGHTS, error=SpecInvalid)
        wanted = network.state_dict()
        counters = {name for name in wanted if name.endswith("num_batches_tracked")}
        if missing := sorted(wanted.keys() - state.keys() - counters):
            raise SpecInvalid(
                f"{self.field}: {self.path / WEIGHTS} lacks {len(missing)} tensors, such as {missing[0]}."
            )
        kept = {name: state[name] for name in wanted if name in state}
        if wrong := [name for name, tensor in kept.items() if tensor.shape != wanted[name].shape]:
            raise SpecInvalid(f"{self.field}: {self.path / WEIGHTS} has a tensor of another shape: {wrong[0]}.")
        network.load_state_dict(kept, strict=False)
        return network.to(torch.float32).eval(), f"sha256:{weights_digest(kept)}"

    def loaded(self, kind: type[nn.Module]) -> tuple[nn.Module, str]:
        """Return a model of transformers, and the digest of its weights. Raises SpecInvalid."""
        from diptych_diffusion.model_files import load_model  # noqa: PLC0415 - loads transformers

        try:
            model, digest = load_model(self.path, kind, torch.float32)
        except BaseInvalid as error:
            raise SpecInvalid(f"{self.field}: {error.message}", hint=error.hint) from error
        return model.eval(), f"sha256:{digest}"
