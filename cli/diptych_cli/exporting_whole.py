"""Writing a run's model, or an adapter on its base, as a whole: a diffusers pipeline, or graphs for ONNX Runtime."""

import json
from pathlib import Path
from typing import Any, Final

import typer

from diptych_api.errors import UserError
from diptych_cli.drawing_model import Model, find_model, model_of
from diptych_cli.exporting import ExportRequest, check_output, is_adapter, is_taken, tell_files
from diptych_cli.runs import find_run
from diptych_diffusion.folder_kinds import PARITY
from diptych_diffusion.staging import full_disk_named, whole
from diptych_training.whole_forms import write_merged

ORIGIN: Final = "diptych-export.json"
MARKS: Final = {"onnx": (PARITY, "ONNX export"), "pipeline": (ORIGIN, "pipeline that was exported")}
"""By form: the file by which an earlier export is known, and what people call that."""


def export_whole(request: ExportRequest) -> None:
    """Write the model's folder, whole or not at all. Raises DiptychError."""
    _check_output(request)
    model = _model(request)
    output = request.output.absolute()
    with full_disk_named(output.parent), whole(output, lambda: _check_output(request)) as folder:
        if request.form == "onnx":
            _write_onnx(folder, model, request)
        else:
            write_merged(folder, model.components)
            (folder / ORIGIN).write_text(json.dumps(_origin(model), indent=2) + "\n", encoding="utf-8")
        names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    more = {"parity": json.loads((request.output / PARITY).read_bytes())} if request.form == "onnx" else {}
    tell_files(request, "converted", [request.output / name for name in names], **more)


def _write_onnx(folder: Path, model: Model, request: ExportRequest) -> None:
    from diptych_diffusion.onnx_folder import write_onnx  # noqa: PLC0415 - of an extra
    from diptych_diffusion.onnx_parity import Parity  # noqa: PLC0415 - as above

    def tell(parity: Parity) -> None:
        if not request.as_json:
            typer.echo(f"  {parity.part}: within {parity.max_abs_diff:.1e} of PyTorch at {len(parity.cases)} sizes")

    write_onnx(folder, model.components, _origin(model), tell)


def _model(request: ExportRequest) -> Model:
    if is_adapter(Path(request.target)):
        return find_model(None, Path(request.target), request.base, "cpu")
    return model_of(find_run(request.target, request.overrides), request.base, "cpu")


def _origin(model: Model) -> dict[str, Any]:
    digest = f"sha256:{model.components.digest}"
    return {"base": model.base_name, "base_digest": digest, "adapter": model.adapter_digest}


def _check_output(request: ExportRequest) -> None:
    """Refuse to replace anything but an earlier export of the same kind, and that unasked."""
    mark, kind = MARKS[request.form]
    if is_taken(request.output) and not (request.output / mark).is_file():
        raise UserError(f"{request.output} exists and is no {kind}.", hint="Choose another name, or remove it.")
    check_output(request)
