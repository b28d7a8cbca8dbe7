"""serveConfigV2 as text: JSON that every reader of YAML takes for the same values."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON takes as it is and YAML does not, or takes for the end of a line."""


def serve_text(values: Mapping[str, Any]) -> str:
    """Return a configuration of Ray Serve as text. All texts are quoted, so `no` and `1e3` stay texts."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def serve_values(text: str) -> dict[str, Any] | None:
    """Return what serve_text() was given; None for any other text."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
