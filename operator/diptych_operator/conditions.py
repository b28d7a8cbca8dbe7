"""Conditions of a status. Their times change with their status only, so that a plan made again says the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from diptych_api.resource import Condition

LONGEST_MESSAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Aspect:
    """One aspect of the state, as it is now: its type, whether it holds (None: unknown), and why."""

    type: str
    holds: bool | None
    reason: str
    message: str = ""

    @property
    def status(self) -> Literal["True", "False", "Unknown"]:
        """Return whether it holds, as Kubernetes spells it."""
        return "Unknown" if self.holds is None else "True" if self.holds else "False"


def conditions(
    before: Sequence[Condition], aspects: Iterable[Aspect], generation: int | None, now: datetime
) -> list[Condition]:
    """Return the conditions of these aspects; one whose status is as before keeps its time."""
    known = {condition.type: condition for condition in before}
    return [_condition(known.get(aspect.type), aspect, generation, now) for aspect in aspects]


def last_change(found: Sequence[Condition]) -> str:
    """Return when a condition changed last; it tells the Event of a phase that comes again from the first one."""
    latest = max((condition.last_transition_time for condition in found), default=None)
    return f"{latest:%Y-%m-%dT%H:%M:%SZ}" if latest is not None else ""


def _condition(known: Condition | None, aspect: Aspect, generation: int | None, now: datetime) -> Condition:
    same = known is not None and known.status == aspect.status
    return Condition(
        type=aspect.type,
        status=aspect.status,
        observed_generation=generation,
        last_transition_time=known.last_transition_time if known is not None and same else now.replace(microsecond=0),
        reason=aspect.reason,
        message=aspect.message[:LONGEST_MESSAGE],
    )
