"""One captioned picture, and one that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its captions, as the layout tells; the picture has not been opened yet."""

    key: str
    """The picture's path below the root of the data set, with forward slashes."""
    path: Path
    captions: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    line: int | None = field(default=None, compare=False)
    """Where the layout names it, counted from 1; None where a layout has no lines."""
    rows: int = field(default=1, compare=False)
    """Rows of the layout that speak of it: what is lost with it."""

    @property
    def place(self) -> str:
        """Return where people find it."""
        return f"line {self.line}" if self.line else self.key


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sample that is left out, and why."""

    key: str
    """The picture as it was named; empty where the line could not be read that far."""
    line: int | None
    reason: str

    def __str__(self) -> str:
        """Return place and reason in words."""
        place = " ".join(part for part in (self.key, f"(line {self.line})" if self.line else "") if part)
        return f"{place}: {self.reason}" if place else self.reason
