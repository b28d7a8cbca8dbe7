"""Reading resources from YAML, with every mistake told at its line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diptych_api.errors import Problem, SpecInvalid
from diptych_api.fieldpaths import Step, wire_fields
from diptych_api.fields import API_VERSION, Model
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.kinds import KINDS, AnyResource
from diptych_api.overrides import FLAG, apply_overrides, parse_override
from diptych_api.presets import resolve
from diptych_api.problems import explain, problem_at, refuse, unknown_field
from diptych_api.resource import ObjectMeta
from diptych_api.wire import from_wire, to_wire
from diptych_api.yaml_tree import MAX_CHARACTERS, Document, documents, to_yaml

SERVER_KEYS = ("generateName", "managedFields", "selfLink", "deletionGracePeriodSeconds")
Lines = dict[tuple[Step, ...], int]


def read_resource(path: Path | str, overrides: Sequence[str] = ()) -> AnyResource:
    """Return the one resource of a file, with `path=value` overrides put in. Raises SpecInvalid."""
    resources = read_resources(_read(Path(path)), str(path), overrides)
    if len(resources) != 1:
        kinds = ", ".join(resource.kind for resource in resources)
        message = f"holds {len(resources)} resources ({kinds}); one is expected."
        raise refuse([Problem(file=str(path), line=1, field="", message=message)])
    return resources[0]


def read_resources(text: str, name: str, overrides: Sequence[str] = ()) -> list[AnyResource]:
    """Return the resources of a YAML text; `name` stands in messages. Raises SpecInvalid with every problem in it."""
    found = documents(text)
    resources: list[AnyResource] = []
    problems: list[Problem] = []
    if not found:
        problems.append(Problem(file=name, line=1, field="", message="holds no resource."))
    for document in found:
        problems += [problem_at(name, document.lines, m.place, m.message, m.line) for m in document.mistakes]
        if document.mistakes:
            continue
        try:
            resources.append(_resource(document, name, overrides))
        except SpecInvalid as error:
            problems += error.problems
    if problems:
        raise refuse(problems)
    return resources


def write_resource(resource: AnyResource) -> str:
    """Return a resource as YAML: what was set, in the order of the models."""
    return to_yaml(to_wire(resource))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4 * MAX_CHARACTERS + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse([Problem(file=str(path), line=1, field="", message="is not UTF-8 text.")]) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refuse([Problem(file=str(path), line=0, field="", message=f"cannot be read: {reason}.")]) from error


def _resource(document: Document, name: str, overrides: Sequence[str]) -> AnyResource:
    raw = document.value
    if head := list(_head_problems(raw)):
        raise refuse(problem_at(name, document.lines, place, message) for place, message in head)
    model, lines = KINDS[raw["kind"]], dict(document.lines)
    if overrides:
        raw = apply_overrides(raw, overrides)
    try:
        resource = from_wire(model, raw)
        mistakes = list(_metadata_typos(raw)) + list(_preset_mistakes(resource))
    except ValidationError as error:
        mistakes = [*explain(error, model), *_metadata_typos(raw)]
    else:
        if not mistakes:
            return resource
    raise refuse(_located(name, lines, place, message, overrides) for place, message in mistakes)


def _head_problems(raw: Any) -> Iterator[tuple[tuple[Step, ...], str]]:  # noqa: ANN401 - YAML holds anything
    if not isinstance(raw, dict):
        yield (), "expected a resource with apiVersion, kind, metadata and spec."
        return
    kind, version = raw.get("kind"), raw.get("apiVersion")
    if not isinstance(kind, str) or kind not in KINDS:
        message = (
            "is missing." if kind is None else f"'{kind}': {unknown_field(str(kind), KINDS)}".replace("field", "kind")
        )
        yield ("kind",), f"{message} Kinds are {', '.join(KINDS)}."
    if version != API_VERSION:
        yield ("apiVersion",), "is missing." if version is None else f"'{version}' is not known. Write {API_VERSION}."


def _metadata_typos(raw: dict[str, Any]) -> Iterator[tuple[tuple[Step, ...], str]]:
    known = [*wire_fields(ObjectMeta), *SERVER_KEYS]
    metadata = raw.get("metadata")
    for key in metadata if isinstance(metadata, dict) else ():
        if key not in known:
            yield ("metadata", key), unknown_field(key, known)


def _preset_mistakes(resource: Model) -> Iterator[tuple[tuple[Step, ...], str]]:
    if not isinstance(resource, FineTuneJob):
        return
    try:
        resolve(resource.spec)
    except ValidationError as error:
        for path, message in explain(error, FineTuneJobSpec):
            yield ("spec", *path), message.removesuffix(".") + f" (with preset {resource.spec.preset})."


def _located(name: str, lines: Lines, place: tuple[Step, ...], message: str, overrides: Sequence[str]) -> Problem:
    for override in overrides:
        path, _ = parse_override(override)
        if place[: len(path)] == path or (path[: len(place)] == place and place not in lines):
            return Problem(
                file=f"{FLAG} {override}", line=0, field=problem_at(name, {}, place, "").field, message=message
            )
    return problem_at(name, lines, place, message)
