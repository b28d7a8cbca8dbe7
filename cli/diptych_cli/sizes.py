"""Sizes as people write them."""

import re

from diptych_api.errors import UserError


def picture_size(text: str | None) -> tuple[int | None, int | None]:
    """Return width and height of `64` or `96x64`. Raises UserError."""
    if text is None:
        return None, None
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text.strip().lower())
    if found is None:
        raise UserError(f"--size {text} is no size.", hint="Write one side, such as 64, or WIDTHxHEIGHT.")
    return int(found[1]), int(found[2] or found[1])
