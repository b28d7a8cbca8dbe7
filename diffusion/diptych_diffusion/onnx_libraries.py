"""Whether what makes and runs ONNX graphs is installed; asked by those who have not loaded torch."""

from importlib.util import find_spec
from typing import Final

LIBRARIES: Final = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")


def missing_for_onnx() -> list[str]:
    """Return the packages of the extra ``onnx`` that are not here."""
    return [name for name in LIBRARIES if find_spec(name) is None]
