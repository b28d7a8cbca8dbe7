"""What was wanted of the operator, and what came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

from diptych_bench.figures import save, show
from diptych_bench.machine import Weather, this_machine

LIBRARIES: Final = ("kopf", "kubernetes", "aiohttp", "pydantic")
COLUMNS: Final = ("what", "wanted", "measured", "reached")


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and the most that it was to be; None where nothing was wanted."""

    what: str
    measured: float
    most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether it is as wanted."""
        return None if self.most is None else self.measured <= self.most

    def row(self) -> tuple[str, str, str, str]:
        """Return it as a row of the table."""
        wanted = "" if self.most is None else f"≤ {self.most:g} {self.unit}"
        words = {None: "", True: "yes", False: "no"}
        return self.what, wanted, f"{self.measured:g} {self.unit}", words[self.reached]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The bars of a part, and further figures."""

    bars: Sequence[Bar]
    figures: Mapping[str, Any] = field(default_factory=dict)


def tell(part: str, effort: object, weather: Weather, outcome: Outcome, *, small: bool) -> None:
    """Print the bars and write them to a file."""
    show(f"the operator: {part}", COLUMNS, [bar.row() for bar in outcome.bars])
    name = f"operator-{part}{'-small' if small else ''}"
    libraries = {library: version(library) for library in LIBRARIES}
    told = {"effort": effort, "operator_libraries": libraries, "bars": outcome.bars, **outcome.figures}
    print(save(name, this_machine(), weather, told))
