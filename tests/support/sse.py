"""Server-sent events, as clients read them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

Told = tuple[str, dict[str, Any]]


def events_in(lines: Iterable[str]) -> Iterator[Told]:
    """Yield the name and the JSON of each event."""
    name, data = "message", ""
    for line in lines:
        if not line and data:
            yield name, json.loads(data)
            name, data = "message", ""
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
