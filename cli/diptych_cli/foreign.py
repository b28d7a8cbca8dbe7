"""Training files of other systems: what every importer shares."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

Values = dict[str, Any]
SD15: Values = {
    "repo": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "revision": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
}


class Foreign(BaseModel):
    """A mapping of a foreign file: its own names, nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Imported:
    """A job's name and spec as plain values, and what a person should know of the way there."""

    name: str
    spec: Values
    notes: list[str] = field(default_factory=list)


class Importable(Protocol):
    """A foreign file that was read."""

    def imported(self) -> Imported:
        """Return the job that it describes. Raises ValueError with a sentence for what has no counterpart."""


def pruned(values: Values) -> Values:
    """Return the values without those that are None, and without mappings that are then empty."""
    kept = {name: pruned(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value is not None and value != {}}
