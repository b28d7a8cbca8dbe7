"""Rules that tie several fields together, said once for Python and once in CEL for the API server."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

ModelT = TypeVar("ModelT")
MARK = "__diptych_rule__"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over the fields of one model.

    `cel` is evaluated by the API server with `self` bound to the value; `holds` is its twin in Python.
    `field` is the wire name of the child that an error points at, empty for the value itself.
    """

    message: str
    cel: str
    holds: Callable[[Any], bool]
    field: str = ""

    def wire(self) -> dict[str, str]:
        """Return the rule as it stands in a CRD. The API server knows no fields of metadata to point at."""
        points_at = {"fieldPath": f".{self.field}"} if self.field and not self.field.startswith("metadata.") else {}
        return {"rule": self.cel, "message": self.message, **points_at}


def rule(message: str, *, cel: str, field: str = "") -> Callable[[Callable[[ModelT], bool]], Callable[[ModelT], bool]]:
    """Mark a method of a model as a rule: it returns whether the value is acceptable."""

    def mark(holds: Callable[[ModelT], bool]) -> Callable[[ModelT], bool]:
        setattr(holds, MARK, Rule(message=message, cel=cel, holds=holds, field=field))
        return holds

    return mark


@cache
def rules_of(kind: type) -> tuple[Rule, ...]:
    """Return the rules of a class and of the classes it extends, base first, in the order of the source."""
    found: dict[str, Rule] = {}
    for owner in reversed(kind.__mro__):
        for name, value in vars(owner).items():
            if isinstance(mark := getattr(value, MARK, None), Rule):
                found[name] = mark
    return tuple(found.values())
