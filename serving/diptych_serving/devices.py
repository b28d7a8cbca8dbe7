"""Where the network runs and in which arithmetic, and what is refused."""

import torch

from diptych_api.errors import UnsupportedHere
from diptych_api.sources import Base


def choose_device(wanted: str, backend: str = "PyTorch") -> torch.device:
    """Return the device; auto is the GPU when there is one, and the back-end can use it.

    Raises:
        UnsupportedHere: for a device that is not there.

    """
    if backend == "ONNX":
        return torch.device("cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[wanted]:
        raise UnsupportedHere(f"There is no {wanted} device here.", hint="Set spec.device to auto or cpu.")
    return torch.device(wanted)


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Return the arithmetic; auto is bf16 on a GPU that has it, fp16 on one that has not, and fp32 elsewhere."""
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def name_of(base: Base) -> str:
    """Return the name of a base as clients see it."""
    if base.builtin is not None:
        return base.builtin
    if base.hugging_face is not None:
        return f"{base.hugging_face.repo}@{base.hugging_face.revision[:12]}"
    return str(base.uri).rstrip("/").rsplit("/", 1)[-1]
