"""A FineTuneJob from the training file of another system."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import typer
import yaml
from pydantic import ValidationError

from diptych_api.errors import Problem, SpecInvalid
from diptych_api.fields import API_VERSION
from diptych_api.overrides import apply_overrides
from diptych_api.problems import refuse, unknown_field
from diptych_api.yaml_reader import read_resources
from diptych_api.yaml_tree import to_yaml
from diptych_cli.foreign import Foreign, Importable, Imported
from diptych_cli.foreign_astro import AstroFile
from diptych_cli.foreign_flowers import FlowersFile

KINDS: Final[dict[frozenset[str], type[Foreign]]] = {
    frozenset({"seed", "model", "data", "train"}): AstroFile,
    frozenset({"data", "vae", "unet", "training"}): FlowersFile,
}
WIDTH: Final = 118


def import_job(source: Path, overrides: Sequence[str], output: Path | None) -> None:
    """Print or write the FineTuneJob that a foreign file describes. Raises SpecInvalid with all that is wrong."""
    imported = read_foreign(source)
    resource = {
        "apiVersion": API_VERSION,
        "kind": "FineTuneJob",
        "metadata": {"name": imported.name},
        "spec": imported.spec,
    }
    changed = apply_overrides(resource, overrides)
    text = "".join(f"# {line}\n" for line in _header(source, imported)) + to_yaml(changed)
    read_resources(text, str(output or source))
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise SpecInvalid(f"{output} exists.", hint="Choose another name.")
    output.write_text(text, encoding="utf-8")
    typer.echo(f"✓ {output}\nnext: diptych validate {output} --deep")


def read_foreign(source: Path) -> Imported:
    """Return what a foreign file says. Raises SpecInvalid."""
    values = _values(source)
    kind = next((kind for keys, kind in KINDS.items() if keys <= values.keys()), None)
    if kind is None:
        known = " or ".join("{" + ", ".join(sorted(keys)) + "}" for keys in KINDS)
        raise SpecInvalid(
            f"{source} is no training file of Astro-Diffusion or Text-To-Image-Diffusion.",
            hint=f"Theirs have {known} at the top.",
        )
    try:
        read: Importable = kind.model_validate(values)  # type: ignore[assignment] # each kind is Importable
        return read.imported()
    except ValidationError as error:
        raise refuse(_problems(source, error, kind)) from error
    except ValueError as error:
        raise SpecInvalid(f"{source}: {error}") from error


def _values(source: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(source.read_bytes())
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise SpecInvalid(f"{source} cannot be read: {error}") from error
    return values if isinstance(values, dict) else {}


def _problems(source: Path, error: ValidationError, kind: type[Foreign]) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        path = [str(step) for step in details["loc"]]
        message = details["msg"]
        if details["type"] == "extra_forbidden":
            message = unknown_field(path[-1], _fields(kind, path[:-1]))
        yield Problem(file=str(source), line=0, field=".".join(path), message=message)


def _fields(kind: type[Foreign], path: Sequence[str]) -> list[str]:
    """Return the keys that a mapping of the file may have."""
    for step in path:
        found = kind.model_fields[step].annotation
        options = [found, *getattr(found, "__args__", ())]
        kind = next(option for option in options if isinstance(option, type) and issubclass(option, Foreign))
    return list(kind.model_fields)


def _header(source: Path, imported: Imported) -> Iterator[str]:
    yield f"Imported from {source.name}. What has no counterpart, or another one:"
    for note in imported.notes:
        first, *rest = wrap(note, WIDTH - 2)
        yield f"- {first}"
        yield from (f"  {line}" for line in rest)
