"""Jobs for a node of two cores: the example, made small, and what a scenario changes in it."""

from copy import deepcopy
from typing import Any

import yaml

from cluster.objects import Values
from e2e.shell import ROOT, Shell

LITTLE = {"spec": {"containers": [{"name": "ray", "resources": {"requests": {"cpu": "250m"}}}]}}
"""Pods that are booked with less than they use, so that several jobs fit."""
SMALL: Values = {
    "training": {"steps": 40, "checkpoint": {"everySteps": 10}, "validation": {"everySteps": 20}},
    "evaluation": {"inferenceSteps": 5},
    "resources": {"cpusPerWorker": 1, "memoryPerWorker": "3Gi", "pods": {"template": LITTLE}},
    "retry": {"backoffLimit": 0},
}


def job(name: str, **changes: Any) -> Values:
    """Return the example as a job of another name, with changes of its spec."""
    example: Values = yaml.safe_load((ROOT / "examples" / "noto-style.yaml").read_text(encoding="utf-8"))
    spec = merged(merged(example["spec"], SMALL), changes)
    return example | {"metadata": {"name": name}, "spec": spec}


def step(shell: Shell, name: str) -> int:
    """Return the step that a job's status tells."""
    return int(shell.told(f"finetunejob/{name}", ".status.progress.step") or 0)


def workspace() -> Values:
    """Return the claim of the examples."""
    found: Values = yaml.safe_load((ROOT / "examples" / "workspace.yaml").read_text(encoding="utf-8"))
    return found


def merged(below: Values, above: Values) -> Values:
    """Return values with others over them, mapping by mapping; None takes one away."""
    found = deepcopy(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = merged(found[name], value) if both else deepcopy(value)
    return {name: value for name, value in found.items() if value is not None}
