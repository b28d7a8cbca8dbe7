"""From what a model says to a caption: without its phrases, quotes and line breaks."""

import re
from typing import Final

MAX_LETTERS: Final = 2_000
OPENINGS: Final = re.compile(
    r"""^(?:sure[,!.:]?\s+)?
    (?:here\s+is\s+(?:a|the)\s+(?:\w+\s+)?(?:caption|description)[^:]{0,40}:\s*)?
    (?:caption:\s*)?
    (?:in\s+(?:the|this)\s+(?:image|picture|photo|photograph)[,:]?\s+(?:there\s+(?:is|are)\s+|we\s+(?:can\s+)?see\s+)?
    |(?:the|this)\s+(?:image|picture|photo|photograph|illustration)\s+(?:clearly\s+)?
     (?:shows|depicts|features|displays|presents|captures|portrays|contains|is\s+of)\s+)?""",
    re.IGNORECASE | re.VERBOSE,
)
"""How models begin instead of naming what they see: words that would stand in every caption."""
QUOTES: Final = ('""', "“”", "''", "‘’", "«»")


def cleaned(text: str) -> str:
    """Return a caption on one line; empty where nothing is left."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_LETTERS]).split())
    line = _unquoted(OPENINGS.sub("", _unquoted(line), count=1)).strip(" *_#`")
    return line[:MAX_LETTERS]


def _unquoted(line: str) -> str:
    for left, right in QUOTES:
        if len(line) > 1 and line[0] == left and line[-1] == right and left not in line[1:-1]:
            return line[1:-1].strip()
    return line
