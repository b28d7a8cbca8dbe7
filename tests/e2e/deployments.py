"""Deployments for a node of two cores: the example, made small, and what a scenario changes in it."""

from typing import Any

import yaml

from cluster.objects import Values
from e2e.jobs import LITTLE, merged
from e2e.shell import ROOT

SMALL: Values = {"resources": {"cpus": 1, "memory": "3Gi"}, "pods": {"template": LITTLE}}


def deployment(name: str, **changes: Any) -> Values:
    """Return the example as a deployment of another name, with changes of its spec."""
    example: Values = yaml.safe_load((ROOT / "examples" / "noto-deployment.yaml").read_text(encoding="utf-8"))
    return example | {"metadata": {"name": name}, "spec": merged(merged(example["spec"], SMALL), changes)}
