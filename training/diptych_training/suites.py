"""Prompt suites: named lists of prompts that are asked of base and tuned alike. A text file is a suite, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diptych_api.errors import SpecInvalid

SUITES: Final[Mapping[str, tuple[str, ...]]] = {
    "astronomy": (
        "a high-resolution spiral galaxy with blue star-forming arms and a bright yellow core",
        "a crimson emission nebula with dark dust lanes and scattered newborn stars",
        "a ringed gas giant with visible storm bands and subtle shadow on rings",
        "an accretion disk around a black hole with relativistic jets, high contrast",
    ),
    "everyday": (
        "a person walking on the beach",
        "a cat on a windowsill",
        "people on a city street",
        "a cabin in the mountains",
        "a person reading a book",
    ),
    "flowers": ("a sunflower", "a rose", "lavender", "a daisy", "a cherry blossom"),
    "neon-cat": ("a cat wearing neon-glasses",),
}
"""Suites of four published fine-tunings; docs/guide/evaluate.md names them."""
LONGEST: Final = 2000
FILE_SUFFIX: Final = ".txt"


def is_file(suite: str) -> bool:
    """Return whether a suite is written as a text file."""
    return suite.endswith(FILE_SUFFIX)


def prompts_of(suite: str) -> tuple[str, ...]:
    """Return the prompts of a suite by its name, or the lines of a text file; empty lines and # comments left out.

    Raises:
        SpecInvalid: when there is no such suite, or its file cannot be read.

    """
    if not is_file(suite):
        if suite not in SUITES:
            raise SpecInvalid(unknown(suite))
        return SUITES[suite]
    try:
        lines = Path(suite).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecInvalid(f"spec.evaluation.suite: {suite} cannot be read: {error}.") from error
    prompts = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not prompts:
        raise SpecInvalid(f"spec.evaluation.suite: {suite} holds no prompt.", hint="Write one prompt a line.")
    if long := next((prompt for prompt in prompts if len(prompt) > LONGEST), None):
        raise SpecInvalid(f"spec.evaluation.suite: {suite} has a prompt of {len(long)} characters; {LONGEST} at most.")
    return prompts


def unknown(suite: str) -> str:
    """Return the sentence about a name that no suite has."""
    return f"spec.evaluation.suite: {suite} is no suite; {', '.join(SUITES)} are, or a text file (.txt) of prompts."
