"""Overrides from the command line, such as `--set training.steps=1000`."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from diptych_api.errors import Problem
from diptych_api.fieldpaths import Step, is_known, model_at, show, wire_fields
from diptych_api.fields import Model
from diptych_api.kinds import KINDS
from diptych_api.problems import refuse, unknown_field
from diptych_api.yaml_tree import documents

ROOTS = ("spec", "metadata")
FLAG = "--set"
PART = re.compile(r"([A-Za-z][A-Za-z0-9-]*)((?:\[[0-9]+\])*)")


class OverrideError(ValueError):
    """A `path=value` text that cannot be used, with a sentence for people."""


def apply_overrides(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of a resource's plain values with `path=value` pairs put in.

    A path starts below `spec` unless it begins with `spec.` or `metadata.`; list items are `name[0]`. Values are read
    as YAML; `null` takes a field away. Raises SpecInvalid for paths that cannot exist.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    problems: list[Problem] = []
    for override in overrides:
        try:
            path, value = parse_override(override)
            _refuse_unknown(KINDS.get(str(raw.get("kind"))), path)
            _put(changed, path, value)
        except OverrideError as error:
            problems.append(Problem(file=f"{FLAG} {override}", line=0, field="", message=str(error)))
    if problems:
        raise refuse(problems)
    return changed


def parse_override(override: str) -> tuple[tuple[Step, ...], Any]:
    """Return path and value of a `path=value` text. Raises OverrideError."""
    name, equals, text = override.partition("=")
    steps: list[Step] = []
    for part in name.strip().split("."):
        found = PART.fullmatch(part)
        if not equals or not found:
            raise OverrideError("write it as path=value, such as training.steps=1000.")
        steps += [found[1], *(int(index) for index in re.findall(r"[0-9]+", found[2]))]
    read = documents(text)
    mistakes = [mistake.message for document in read for mistake in document.mistakes]
    if mistakes or len(read) > 1:
        raise OverrideError(" ".join(mistakes) or "write one value.")
    path = tuple(steps) if steps[0] in ROOTS else ("spec", *steps)
    return path, read[0].value if read else None


def _put(target: Any, path: tuple[Step, ...], value: Any) -> None:  # noqa: ANN401 - plain values are of any type
    for i in range(len(path) - 1):
        below: list[Any] | dict[str, Any] = [] if isinstance(path[i + 1], int) else {}
        target = _child(target, path, i, below)
    last = path[-1]
    if value is None and isinstance(target, dict):
        target.pop(last, None)
    else:
        _child(target, path, len(path) - 1, None)
        target[last] = value


def _child(target: Any, path: tuple[Step, ...], i: int, below: Any) -> Any:  # noqa: ANN401 - plain values
    step = path[i]
    if isinstance(step, int):
        if not isinstance(target, list) or step > len(target):
            raise OverrideError(f"{show(path[:i])} has no item {step}.")
        if step == len(target):
            target.append(below)
    elif not isinstance(target, dict):
        raise OverrideError(f"{show(path[:i])} has no fields.")
    elif target.get(step) is None:
        target[step] = below
    return target[step]


def _refuse_unknown(model: type[Model] | None, path: tuple[Step, ...]) -> None:
    for end in range(1, len(path) + 1):
        if model is not None and not is_known(model, path[:end]):
            parent = model_at(model, path[: end - 1])
            name = str(path[end - 1])
            raise OverrideError(f"{show(path[:end])}: {unknown_field(name, wire_fields(parent) if parent else ())}")
