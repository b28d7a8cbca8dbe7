"""Where a command looks: on this machine or on a cluster. Imports neither pydantic nor a client."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

YAML: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Where:
    """What `-n`, `--context` and `--kubeconfig` say; None is what kubectl would take."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    @property
    def is_given(self) -> bool:
        """Whether any of them was given, which names a cluster."""
        return any(value is not None for value in (self.namespace, self.context, self.kubeconfig))


def is_path(target: str) -> bool:
    """Whether a target is a YAML, a URI, or a folder that is there or is written as one."""
    return "/" in target or Path(target).suffix in YAML or Path(target).is_dir()


def is_on_cluster(target: str, where: Where) -> bool:
    """Whether a command looks on a cluster: when one is named, or when the target is a plain name and no path."""
    return where.is_given or not is_path(target)
