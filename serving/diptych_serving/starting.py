"""Why engine replicas do not start, in words for people who do not know Ray Serve."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray
from ray import serve
from ray.serve._private.common import DeploymentStatus

from diptych_api import errors
from diptych_api.errors import DiptychError, UserError
from diptych_api.serveconfig import APPLICATION, ENGINE

LONGEST: Final = 1000
_SLOW: Final = re.compile(r"have taken more than (\S+)s to\s+(be scheduled|initialize)")
_ERROR: Final = re.compile(r"^(?:\w+\.)*(?=[A-Z]\w+: )", re.MULTILINE)
_NEEDS: Final = re.compile(r"required for each replica: (\{[^}]*\})")


def engine_trouble() -> str:
    """Return what keeps engine replicas from starting, or ""; Ray Serve says it after half a minute. Blocks."""
    application = serve.status().applications.get(APPLICATION)
    engine = None if application is None else application.deployments.get(ENGINE)
    if engine is None or engine.status == DeploymentStatus.HEALTHY or not engine.message:
        return ""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return in_plain_words(engine.message, nodes)[:LONGEST]


def in_plain_words(message: str, nodes: Sequence[Mapping[str, float]]) -> str:
    """Return what Ray Serve says of a start that is slow, as it is for nodes with such resources, or that failed.

    Ray Serve blames a lack of resources for every process that is slow to come up, and tells tracebacks.
    """
    slow = _SLOW.search(message)
    if slow is None:
        return _last_words(message)
    if slow[2] == "initialize":
        return f"Engine replicas have been loading the base for more than {slow[1]} seconds."
    needs = _needs(message)
    if not any(_has(node, needs) for node in nodes):
        return (
            f"No node of the Ray cluster has {_told(needs)}, as an engine replica needs. "
            "A node may still be coming; otherwise lower spec.resources."
        )
    return (
        f"Engine replicas have been starting for more than {slow[1]} seconds: their processes come up slowly where "
        f"much runs, or others hold what they need ({_told(needs)})."
    )


def permanent(trouble: str) -> DiptychError | None:
    """Return the error that a start failed with, where trying again cannot help; None for all else."""
    reason, _, words = trouble.partition(": ")
    kind = getattr(errors, reason, None) if reason.isidentifier() else None
    return kind(words) if isinstance(kind, type) and issubclass(kind, UserError) else None


def _last_words(message: str) -> str:
    """Return the last error of a traceback by its name and message: no module, no frames."""
    begins = [found.end() for found in _ERROR.finditer(message)]
    return message[begins[-1] :].strip() if begins else message


def _needs(message: str) -> dict[str, Any]:
    found = _NEEDS.search(message)
    return {} if found is None else dict(json.loads(found[1]))


def _has(node: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in needs.items())


def _told(needs: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in needs.items()) or "room"


def reason_of(error: Exception) -> str:
    """Return why a start failed, for /ready."""
    return f"{type(error).__name__}: {error}"
