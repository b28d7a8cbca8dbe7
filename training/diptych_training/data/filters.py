"""Why a good picture is left out all the same."""

from dataclasses import dataclass

from diptych_api.dataset import Filters
from diptych_training.data.eyes import Look


@dataclass(frozen=True, slots=True)
class Dropped:
    """A picture that could be used and is left out, by which rule and why."""

    key: str
    rule: str
    reason: str
    like: str | None = None
    """The picture that is kept in its place, of a duplicate."""

    def __str__(self) -> str:
        """Return picture and reason in words."""
        return f"{self.key}: {self.reason}"


def filtered(key: str, look: Look, filters: Filters) -> Dropped | None:
    """Return the first filter that leaves a picture out, if one does."""
    short, long = sorted(look.size)
    if filters.min_side is not None and short < filters.min_side:
        return Dropped(key, "minSide", f"its shorter side has {short} pixels, fewer than {filters.min_side}")
    if filters.max_aspect is not None and long > filters.max_aspect * short:
        return Dropped(key, "maxAspect", f"its sides are {long / short:.2f} to 1, more than {filters.max_aspect:g}")
    sharp, least = look.sharpness, filters.min_sharpness
    if sharp is not None and least is not None and sharp < least:
        return Dropped(key, "minSharpness", f"its sharpness is {sharp:.1f}, less than {least:g}")
    return None
