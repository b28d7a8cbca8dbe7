"""The smallest JSON merge patch from one value to another (RFC 7386)."""

from collections.abc import Mapping
from typing import Any


def merge_patch(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what changes `found` into `wanted`; null takes a key away. Empty when they are the same."""
    patch: dict[str, Any] = {name: None for name in found if name not in wanted}
    for name, value in wanted.items():
        old = found.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if below := merge_patch(old, value):
                patch[name] = below
        elif name not in found or old != value:
            patch[name] = value
    return patch
