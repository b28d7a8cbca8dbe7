"""What can run the network, and with which other settings. Loads no torch."""

from diptych_diffusion.onnx_libraries import missing_for_onnx


def backend_problem(backend: str, device: str, dtype: str, gpus: int) -> str | None:
    """Return why a back-end cannot be had with the other settings, or None."""
    if backend == "TensorRT":
        return "spec.backend: TensorRT is not there yet. Set PyTorch, or ONNX on CPUs."
    if backend == "ONNX":
        wrong = [
            *([f"spec.device to cpu, not {device}"] if device not in ("auto", "cpu") else []),
            *([f"spec.dtype to fp32, not {dtype}"] if dtype not in ("auto", "fp32") else []),
            *([f"spec.resources.gpus to 0, not {gpus}"] if gpus else []),
        ]
        if wrong:
            return f"spec.backend: ONNX draws on CPUs, in fp32. Set {', '.join(wrong)}; or spec.backend to PyTorch."
    return None


def backend_lacking(backend: str) -> str | None:
    """Return which libraries a back-end needs that are not here, or None."""
    missing = missing_for_onnx() if backend == "ONNX" else []
    return f"spec.backend: ONNX needs {', '.join(missing)}. Install Diptych with its extra onnx." if missing else None
