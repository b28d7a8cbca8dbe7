"""What engine replicas tell of themselves, for gateways to answer with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych_api.deploymentstatus import AdapterState
from diptych_api.training import Method

if TYPE_CHECKING:  # gateways and the registry go without torch
    from diptych_diffusion.components import Components

ORDER: tuple[AdapterState, ...] = ("Failed", "Waiting", "Loading", "Loaded")
"""From the worst news to the best."""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the base can do. Sizes are pixels."""

    name: str
    digest: str
    height: int
    width: int
    pixels_per_latent: int
    dtype: str
    device: str
    has_checker: bool = False
    """Whether a safety checker looks at its pictures while ``safety.enabled``."""


def base_facts(name: str, base: "Components", *, has_checker: bool = False) -> BaseFacts:
    """Return what a loaded base can do."""
    height, width = base.picture_size
    dtype = str(base.denoiser.dtype).removeprefix("torch.")
    digest = f"sha256:{base.digest}"
    return BaseFacts(name, digest, height, width, base.pixels_per_latent, dtype, str(base.denoiser.device), has_checker)


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """How an adapter is on one replica."""

    name: str
    state: AdapterState
    digest: str | None = None
    rank: int | None = None
    message: str = ""
    method: Method | None = None
    bytes: int | None = None
    """Memory that it takes on the device."""
    identity: str | None = None
    """What pictures depend on that are drawn with it."""
    step: int | None = None
    """Optimiser step of the weights, where they tell it."""
    mark: str = ""
    """Of the files that this is told of."""

    @property
    def is_settled(self) -> bool:
        """Whether it is loaded or has finally failed."""
        return self.state in ("Loaded", "Failed")


@dataclass(frozen=True, slots=True)
class StartFacts:
    """Where the time of a replica's start went."""

    host: str
    ready: float
    """Seconds since 1970."""
    weights_s: float
    warmup_s: float


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One engine replica, as of its last report."""

    replica: str
    base: BaseFacts
    adapters: Mapping[str, AdapterFacts]
    config_version: str
    """The registry's version that the adapters belong to."""
    max_rows: int | None = None
    """Rows of a forward pass, as configured or measured."""
    start: StartFacts | None = None


def worst(name: str, replicas: Iterable[ReplicaFacts]) -> AdapterFacts:
    """Return how an adapter is on the replica that is worst off."""
    found = [replica.adapters.get(name, AdapterFacts(name, "Waiting")) for replica in replicas]
    return min(found, key=lambda facts: ORDER.index(facts.state), default=AdapterFacts(name, "Waiting"))
