"""Kubernetes objects as plain values."""

from collections.abc import Mapping
from typing import Any

Values = dict[str, Any]


def reference(api_version: str, kind: str, name: str, namespace: str | None = None) -> Values:
    """Return an object that is nothing but its identity."""
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": {k: v for k, v in meta.items() if v is not None}}


def conditions(target: Mapping[str, Any]) -> dict[str, str]:
    """Return the conditions of an object, status by type."""
    return {each["type"]: each["status"] for each in target.get("status", {}).get("conditions") or []}
