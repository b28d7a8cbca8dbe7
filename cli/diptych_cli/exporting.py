"""Copying or converting an artifact into the form that another program reads."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import typer

from diptych_api.artifact import ArtifactFormat
from diptych_api.errors import UnsupportedHere, UserError
from diptych_cli.artifact_files import fetch_artifact, form_folder
from diptych_cli.runs import find_run
from diptych_diffusion.loading import loading
from diptych_diffusion.onnx_libraries import missing_for_onnx

FORMATS: dict[str, ArtifactFormat] = {
    "peft": "PEFT",
    "diffusers": "Diffusers",
    "kohya": "Kohya",
    "pipeline": "Pipeline",
}
WEIGHTS = ".safetensors"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What `diptych export` was asked for."""

    target: str
    overrides: tuple[str, ...]
    form: str
    output: Path
    base: str | None = None
    force: bool = False
    as_json: bool = False


def export(request: ExportRequest) -> None:
    """Write the artifact, or an adapter that came from elsewhere, in one form. Raises DiptychError."""
    if request.form == "onnx":
        _check_onnx()
        _export_whole(request)
        return
    if request.base is not None and request.form != "pipeline":
        raise UserError(f"--base has no meaning for {request.form}.", hint="Leave it out; pipeline and onnx need it.")
    _check_form(request)
    check_output(request)
    if not is_adapter(Path(request.target)):
        _export_run(request)
    elif request.form == "pipeline":
        _export_whole(request)
    else:
        tell_files(request, "converted", _convert(Path(request.target), request))


def _export_run(request: ExportRequest) -> None:
    folder, record = fetch_artifact(find_run(request.target, request.overrides))
    if request.base is not None and "PEFT" not in record.formats:
        raise UserError("The run made a whole model, so --base has no meaning.", hint="Leave --base out.")
    source = form_folder(folder, FORMATS[request.form])
    if FORMATS[request.form] in record.formats and source.is_dir():
        tell_files(request, "copied", _copy(source, request))
    elif "PEFT" not in record.formats:
        has = ", ".join(name for name, form in FORMATS.items() if form in record.formats)
        raise UnsupportedHere(f"The artifact has no {request.form} form.", hint=f"It has: {has}.")
    elif request.form == "pipeline":
        _export_whole(request)
    else:
        tell_files(request, "converted", _convert(form_folder(folder, "PEFT"), request))


def is_adapter(path: Path) -> bool:
    """Whether a path holds an adapter that came from elsewhere, as far as names tell."""
    return path.suffix == WEIGHTS or (path / "adapter_config.json").is_file() or any(path.glob(f"*{WEIGHTS}"))


def _check_onnx() -> None:
    if missing := missing_for_onnx():
        raise UnsupportedHere(
            f"--format onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            hint=f"Install Diptych with its extra onnx, or: pip install {' '.join(missing)}",
        )


def _export_whole(request: ExportRequest) -> None:
    with loading():
        from diptych_cli.exporting_whole import export_whole  # noqa: PLC0415 - imports torch

    export_whole(request)


def tell_files(request: ExportRequest, how: str, files: Iterable[Path], **more: object) -> None:
    """Tell what was written, and for scripts what ``more`` there is to know."""
    if request.as_json:
        typer.echo(json.dumps({"format": request.form, "how": how, "files": list(map(str, files)), **more}))
    else:
        typer.echo("\n".join(f"✓ {how} {path}" for path in files))


def _check_form(request: ExportRequest) -> None:
    if request.form == "kohya" and request.output.suffix != WEIGHTS:
        raise UserError(f"{request.output}: a kohya export is one file.", hint=f"Name it {request.output}{WEIGHTS}.")


def is_taken(place: Path) -> bool:
    """Whether something is there that an export would replace."""
    return place.exists() and (place.is_file() or any(place.iterdir()))


def check_output(request: ExportRequest) -> None:
    """Raise UserError where something would be replaced unasked."""
    if is_taken(request.output) and not request.force:
        raise UserError(f"{request.output} exists.", hint="Choose another name, or replace it with --force.")


def _copy(source: Path, request: ExportRequest) -> list[Path]:
    request.output.parent.mkdir(parents=True, exist_ok=True)
    if request.form == "kohya":
        file = next(iter(sorted(source.glob(f"*{WEIGHTS}"))))
        return [Path(shutil.copyfile(file, request.output))]
    shutil.copytree(source, request.output, dirs_exist_ok=True)
    return sorted(request.output / file.relative_to(source) for file in source.rglob("*") if file.is_file())


def _convert(source: Path, request: ExportRequest) -> list[Path]:
    with loading():
        from diptych_diffusion import adapter_files  # noqa: PLC0415 - imports torch, which a copy does not need

    weights = adapter_files.load_adapter(source)
    if request.form == "peft":
        return adapter_files.save_peft(request.output, weights)
    if request.form == "diffusers":
        return [adapter_files.save_diffusers(request.output, weights)]
    return [adapter_files.save_kohya(request.output, weights)]
