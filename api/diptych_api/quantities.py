"""Kubernetes quantities: `500m`, `8Gi`, `1e3`, `1.5`."""

import re
from decimal import Context, Decimal
from typing import Final

DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
FORM: Final = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII
)
LONGEST: Final = 64
EXACT: Final = Context(prec=256)
"""Python's own context keeps 28 digits; a text of 64 has room for more."""


def parse_quantity(text: str) -> Decimal:
    """Return the exact value of a quantity, such as 0.5 for `500m`. Raises ValueError for other texts."""
    found = FORM.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise ValueError(f"'{text[:LONGEST]}' is not a quantity such as 500m, 2 or 8Gi")
    number, exponent, suffix = found[1], found[2], found[3] or ""
    if exponent:
        return Decimal(number + exponent)
    if suffix in BINARY:
        return EXACT.multiply(Decimal(number), 1 << BINARY[suffix])
    return EXACT.scaleb(Decimal(number), DECIMAL[suffix])


def whole_bytes(text: str) -> int:
    """Return a quantity of memory in bytes, rounded up."""
    value = parse_quantity(text)
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def millicores(text: str) -> int:
    """Return a quantity of CPU in thousandths of a core, rounded up."""
    return int(EXACT.multiply(parse_quantity(text), 1000).to_integral_value(rounding="ROUND_CEILING"))


def show_bytes(count: int) -> str:
    """Return a number of bytes for people, such as `8.0 GiB` or `512 B`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - the step between units
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
