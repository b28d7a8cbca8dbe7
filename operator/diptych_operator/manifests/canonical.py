"""Quantities as Go writes them: KubeRay rewrites what it finds, and 2048Mi would come back as 2Gi, as if edited."""

import re
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any, Final

from diptych_api.quantities import BINARY, DECIMAL, EXACT, parse_quantity

AMOUNTS: Final = frozenset({"limits", "requests"})
"""Maps of which every value is a quantity."""
SINGLE: Final = frozenset({"sizeLimit"})
KIB: Final = 1024
SMALLEST: Final = Decimal("1e-9")
MOST_BYTES: Final = 2**63 - 1
"""What Kubernetes makes of any more with a binary suffix."""


def with_canonical_quantities(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any part of a manifest
    """Return a part of a manifest in which quantities are written as they come back."""
    if isinstance(value, dict):
        if name in AMOUNTS:
            return {key: canonical_quantity(str(amount)) for key, amount in value.items()}
        return {key: with_canonical_quantities(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [with_canonical_quantities(item) for item in value]
    return canonical_quantity(value) if name in SINGLE and isinstance(value, str) else value


def canonical_quantity(text: str) -> str:
    """Return a quantity in the form that Kubernetes' own code writes, and what is none as it is."""
    try:
        value = parse_quantity(text)
    except ValueError:
        return text
    if re.search(r"[eE][+-]?[0-9]", text):
        return text
    with localcontext(EXACT):
        if text.endswith("i"):
            value = min(value, Decimal(MOST_BYTES))
        if text.endswith("i") and value >= KIB and value % 1 == 0:
            return _binary(int(value))
        return _decimal(value.quantize(SMALLEST, ROUND_CEILING) if value % SMALLEST else value)


def _binary(value: int) -> str:
    power = 0
    while value % KIB == 0 and power < max(BINARY.values()):
        value, power = value // KIB, power + 10
    return f"{value}{_suffix(BINARY, power)}"


def _decimal(value: Decimal) -> str:
    if value == 0:
        return "0"
    power = max(power for power in DECIMAL.values() if value.scaleb(-power) % 1 == 0)
    return f"{int(value.scaleb(-power))}{_suffix(DECIMAL, power)}"


def _suffix(suffixes: dict[str, int], power: int) -> str:
    return {number: suffix for suffix, number in suffixes.items()}.get(power, "")
