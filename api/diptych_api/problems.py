"""Telling people what is wrong with a resource: pydantic's errors in plain words."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from diptych_api.errors import Problem, SpecInvalid
from diptych_api.fieldpaths import Step, description_at, model_at, show, wire_fields
from diptych_api.fields import BROKEN_RULE, NAME_PATTERN, Model

LONGEST_QUOTE = 60
FORMS: dict[str, str] = {
    NAME_PATTERN: "small letters, digits and dashes, starting with a letter",
    r"^[0-9a-f]{40}$": "a commit hash of 40 hex digits",
    r"^[0-9a-f]{64}$": "64 hex digits",
    r"^sha256:[0-9a-f]{64}$": "sha256: and 64 hex digits",
    r"^#[0-9a-fA-F]{6}$": "a colour such as #ffffff",
}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "timezone": "a time with its zone, such as 2026-01-31T12:00:00Z",
}


def refuse(problems: Iterable[Problem]) -> SpecInvalid:
    """Return the error that tells all problems, one a line, in the order of the file."""
    ordered = tuple(sorted(problems, key=lambda problem: problem.line))
    width = max((len(problem.location) for problem in ordered), default=0)
    lines = [f"{problem.location:<{width}} {problem.text}" for problem in ordered]
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return SpecInvalid("\n".join([*lines, f"{count}, nothing started."]), problems=ordered)


def explain(error: ValidationError, model: type[Model]) -> Iterator[tuple[tuple[Step, ...], str]]:
    """Yield the path and the sentence of each mistake that pydantic found in a value of a model."""
    for details in error.errors(include_url=False):
        path = tuple(step for step in details["loc"] if step != "[key]")
        if details["type"] == BROKEN_RULE:
            for field, message in details["ctx"]["broken"]:
                yield (*path, *filter(None, field.split("."))), f"{message}."
        else:
            yield path, _sentence(details, model, path)


def unknown_field(name: str, siblings: Iterable[str]) -> str:
    """Return the sentence for a field that does not exist, with the nearest one that does."""
    return f"unknown field. {_nearest(name, list(siblings))}".rstrip()


def _sentence(details: ErrorDetails, model: type[Model], path: Sequence[Step]) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        parent = model_at(model, path[:-1])
        return unknown_field(str(path[-1]), wire_fields(parent) if parent else ())
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"{_quote(given)} is not one of {_enumerate(choices)}. {_nearest(str(given), choices)}".rstrip()
    if kind in PHRASES:
        what = PHRASES[kind](given, context)
    elif (expected := KINDS.get(kind.split("_")[0])) and kind.endswith(("_type", "_parsing", "_aware", "_from_float")):
        what = f"expected {expected}, got {_quote(given)}."
    else:
        what = f"{details['msg']}."
    return f"{what} {description_at(model, path)}".rstrip()


PHRASES: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda _, __: "is missing.",
    "greater_than_equal": lambda x, c: f"{_quote(x)} is below {c['ge']:g}.",
    "greater_than": lambda x, c: f"{_quote(x)} is not above {c['gt']:g}.",
    "less_than_equal": lambda x, c: f"{_quote(x)} is above {c['le']:g}.",
    "less_than": lambda x, c: f"{_quote(x)} is not below {c['lt']:g}.",
    "multiple_of": lambda x, c: f"{_quote(x)} is not a multiple of {c['multiple_of']:g}.",
    "finite_number": lambda x, _: f"{_quote(x)} is not a finite number.",
    "string_too_short": lambda x, c: "is empty." if not x else f"{len(x)} characters, at least {c['min_length']}.",
    "string_too_long": lambda x, c: f"{len(x)} characters, at most {c['max_length']}.",
    "string_pattern_mismatch": lambda x, c: (
        f"{_quote(x)} is not {FORMS.get(c['pattern'], 'of the form ' + c['pattern'])}."
    ),
    "too_short": lambda _, c: f"{c['actual_length']} items, at least {c['min_length']}.",
    "too_long": lambda _, c: f"{c['actual_length']} items, at most {c['max_length']}.",
}


def _quote(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return f"'{text}'" if len(text) <= LONGEST_QUOTE else f"'{text[:LONGEST_QUOTE]}…'"


def _nearest(name: str, names: list[str]) -> str:
    folded = {other.casefold().replace("_", ""): other for other in names}
    near = difflib.get_close_matches(name.casefold().replace("_", ""), folded, n=1, cutoff=0.6)
    return f"Did you mean {folded[near[0]]}?" if near else ""


def _enumerate(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def problem_at(
    file: str, lines: Mapping[tuple[Step, ...], int], path: tuple[Step, ...], message: str, line: int | None = None
) -> Problem:
    """Return a problem at a line or else at that of the path or, for what is missing, of the nearest thing above it."""
    end = len(path)
    while end and path[:end] not in lines:
        end -= 1
    return Problem(file=file, line=line or lines.get(path[:end], 1), field=show(path), message=message)
