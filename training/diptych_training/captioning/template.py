"""Captions from what the layout tells of a picture: `a painting of {class}, {style}`."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from diptych_training.captioning.provider import Silence
from diptych_training.data.entry import Entry

FIELD: Final = re.compile(r"\{([^{}]{1,64})\}")
LISTED: Final = 10


def filled(template: str, entry: Entry) -> str | Silence:
    """Return the template with the picture's columns in place of ``{column}``; ``{name}`` is its file's name.

    Underscores become spaces. Braces are nothing but names: no expression in them is evaluated.
    """
    stem = PurePosixPath(entry.key).stem
    values: Mapping[str, str] = {"name": stem, **entry.metadata}
    lacking = [field for field in FIELD.findall(template) if not values.get(field, "").strip()]
    if lacking:
        there = ", ".join(list(values)[:LISTED])
        return Silence(f"the template asks for {lacking[0]}, which this picture has not; there is: {there}")
    return FIELD.sub(lambda match: values[match[1]].replace("_", " ").strip(), template)
