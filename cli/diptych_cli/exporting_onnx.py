"""Writing a run's model, or an adapter on its base, for ONNX Runtime."""

import json
from pathlib import Path
from typing import Any

import typer

from diptych_api.errors import UserError
from diptych_cli.drawing_model import Model, find_model, model_of
from diptych_cli.exporting import ExportRequest, check_output, is_adapter, is_taken, tell_files
from diptych_cli.runs import find_run
from diptych_diffusion.onnx_folder import PARITY, write_onnx
from diptych_diffusion.onnx_parity import Parity
from diptych_diffusion.staging import full_disk_named, whole


def export_onnx(request: ExportRequest) -> None:
    """Write the model's folder, whole or not at all. Raises DiptychError."""
    _check_output(request)
    model = _model(request)

    def tell(parity: Parity) -> None:
        if not request.as_json:
            typer.echo(f"  {parity.part}: within {parity.max_abs_diff:.1e} of PyTorch at {len(parity.cases)} sizes")

    output = request.output.absolute()
    with full_disk_named(output.parent), whole(output, lambda: _check_output(request)) as folder:
        write_onnx(folder, model.components, _origin(model), tell)
        names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    parity = json.loads((request.output / PARITY).read_bytes())
    tell_files(request, "converted", [request.output / name for name in names], parity=parity)


def _model(request: ExportRequest) -> Model:
    if is_adapter(Path(request.target)):
        return find_model(None, Path(request.target), request.base, "cpu")
    return model_of(find_run(request.target, request.overrides), request.base, "cpu")


def _origin(model: Model) -> dict[str, Any]:
    digest = f"sha256:{model.components.digest}"
    return {"base": model.base_name, "base_digest": digest, "adapter": model.adapter_digest}


def _check_output(request: ExportRequest) -> None:
    """Refuse to replace anything but an earlier export, and that unasked."""
    if is_taken(request.output) and not (request.output / PARITY).is_file():
        raise UserError(f"{request.output} exists and is no ONNX export.", hint="Choose another name, or remove it.")
    check_output(request)
