"""One network as an ONNX file, and back: written by PyTorch's exporter, run by ONNX Runtime on the CPU."""

import ast
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx_ir as ir
import onnxruntime
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Generator, Tensor

from diptych_diffusion.lora_merge import merged
from diptych_diffusion.onnx_parts import Part, Size

FILE: Final = "model.onnx"
OPSET: Final = 18
ERRORS_ONLY: Final = 3
SCOPES: Final = "pkg.torch.onnx.name_scopes"
WEIGHT, TURNED = ".weight", ".weight.T"
"""Ends of the names of weights: as the layer has them, and turned, as a matrix product takes them."""


def write_part(part: Part, example: Size, folder: Path) -> Path:
    """Write model.onnx, its adapters merged, and beside it model.onnx.data; return the first.

    Weights are in the second, because protobuf holds no more than 2 GB. All have the names of their layers. What the
    exporter notes of each node is left out: it names places of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = part.draw(example, Generator().manual_seed(0))
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            merged(part.network).eval(),
            inputs,
            input_names=part.inputs,
            output_names=[part.output],
            dynamic_shapes=part.free,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 -- without a file's name the exporter returns it
    _name_turned_weights(program.model.graph)
    ClearMetadataAndDocStringPass()(program.model)
    program.save(folder / FILE, external_data=True)
    return folder / FILE


def layer_of(node: ir.Node) -> str | None:
    """Return the layer that a node of a written graph computes, by its weights, or None for one that has none."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or (weight := node.inputs[1]) is None or weight.name is None:
        return None
    for end in (WEIGHT, TURNED):
        if weight.is_initializer() and weight.name.endswith(end):
            return weight.name.removesuffix(end)
    return None


class Session:
    """A file that is loaded to be run, with as many threads as torch has."""

    def __init__(self, file: Path) -> None:
        self._session = session(file)
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the file's one output for its inputs in their order."""
        feed = {name: tensor.numpy() for name, tensor in zip(self._names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, feed)[0])


def session(file: Path, graph: bytes | None = None) -> onnxruntime.InferenceSession:
    """Load a file or, instead of its own, a graph that has its weights there; with as many threads as torch has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(file.parent))
    return onnxruntime.InferenceSession(graph or file, options, providers=["CPUExecutionProvider"])


def _name_turned_weights(graph: ir.Graph) -> None:
    """Name what the exporter has turned beforehand; it notes beside each node in which modules that stands."""
    for node in graph:
        weight = node.inputs[1] if node.op_type == "MatMul" else None
        if weight is not None and weight.is_initializer():
            *_, layer, _ = ast.literal_eval(node.metadata_props[SCOPES])
            weight.name = f"{layer}{TURNED}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the screen what the exporter says of its own code and of libraries that are not needed."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
