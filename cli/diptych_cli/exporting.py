"""Copying or converting an artifact into the form that another program reads."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import typer

from diptych_api.artifact import ArtifactFormat
from diptych_api.errors import UnsupportedHere, UserError
from diptych_cli.artifact_files import fetch_artifact, form_folder
from diptych_cli.runs import find_run
from diptych_diffusion.loading import loading

FORMATS: dict[str, ArtifactFormat] = {
    "peft": "PEFT",
    "diffusers": "Diffusers",
    "kohya": "Kohya",
    "pipeline": "Pipeline",
}
WEIGHTS = ".safetensors"
ONNX_LIBRARIES: Final = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")


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
        _export_onnx(request)
        return
    if request.base is not None:
        raise UserError(f"--base has no meaning for {request.form}.", hint="Leave it out, or use --format onnx.")
    _check_form(request)
    check_output(request)
    if is_adapter(Path(request.target)):
        source, how = Path(request.target), "converted"
        written = _convert(source, request)
    else:
        folder, record = fetch_artifact(find_run(request.target, request.overrides))
        source = form_folder(folder, FORMATS[request.form])
        if FORMATS[request.form] in record.formats and source.is_dir():
            how, written = "copied", _copy(source, request)
        elif "PEFT" in record.formats and request.form != "pipeline":
            how, written = "converted", _convert(form_folder(folder, "PEFT"), request)
        else:
            has = ", ".join(name for name, form in FORMATS.items() if form in record.formats)
            raise UnsupportedHere(f"The artifact has no {request.form} form.", hint=f"It has: {has}.")
    tell_files(request, how, written)


def is_adapter(path: Path) -> bool:
    """Whether a path holds an adapter that came from elsewhere, as far as names tell."""
    return path.suffix == WEIGHTS or (path / "adapter_config.json").is_file() or any(path.glob(f"*{WEIGHTS}"))


def _export_onnx(request: ExportRequest) -> None:
    if missing := [name for name in ONNX_LIBRARIES if find_spec(name) is None]:
        raise UnsupportedHere(
            f"--format onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            hint=f"Install Diptych with its extra onnx, or: pip install {' '.join(missing)}",
        )
    with loading():
        from diptych_cli.exporting_onnx import export_onnx  # noqa: PLC0415 - imports torch and the libraries above

    export_onnx(request)


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
    if request.form == "kohya":
        return [adapter_files.save_kohya(request.output, weights)]
    raise UnsupportedHere("An adapter cannot become a pipeline yet.", hint="Export it as peft, diffusers or kohya.")
