"""What settings need of the machine that trains: optional libraries and a compiler.

It loads neither torch nor Ray, so that `diptych validate` answers at once.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Final

from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.onnx_libraries import missing_for_onnx

EIGHT_BIT: Final = "bitsandbytes"
COMPILERS: Final = ("c++", "g++", "clang++")


def has(library: str) -> bool:
    """Whether a library is installed."""
    return importlib.util.find_spec(library) is not None


def find_compiler() -> str | None:
    """Return the C++ compiler that PyTorch would find: the one that CXX names, or one of the usual."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)


def lacking(spec: FineTuneJobSpec) -> Iterator[str]:
    """Yield one sentence for each setting that this machine cannot honour."""
    training = spec.training
    if training.attention == "xformers" and not has("xformers"):
        yield "spec.training.attention: xformers is not installed; install it beside PyTorch, or use sdpa."
    if training.compile != "Off" and find_compiler() is None:
        yield (
            f"spec.training.compile: {training.compile} needs a C++ compiler, and this machine has none of "
            f"{', '.join(COMPILERS)}; install one (Debian: g++), or set it to Off."
        )
    if "ONNX" in spec.export.formats and (missing := missing_for_onnx()):
        yield f"spec.export.formats: ONNX needs {', '.join(missing)}; install Diptych with its extra onnx."


def substitutes(spec: FineTuneJobSpec) -> Iterator[str]:
    """Yield one sentence for each setting in whose place this machine does something else with the same meaning."""
    if spec.training.optimizer.name == "AdamW8bit" and not has(EIGHT_BIT):
        yield (
            f"spec.training.optimizer.name: AdamW8bit needs {EIGHT_BIT}, which is not installed here; AdamW takes its "
            "place, with 6 bytes more of memory for each trained parameter."
        )
    if spec.dataset.captioning.provider == "Qwen2VL" and spec.resources.gpus_per_worker and not has(EIGHT_BIT):
        yield (
            f"spec.dataset.captioning.provider: Qwen2VL in four bits needs {EIGHT_BIT}, which is not installed here; "
            "it is loaded in bfloat16, with up to four times the memory."
        )


def check_equipped(spec: FineTuneJobSpec) -> None:
    """Raise UnsupportedHere with every setting that this machine cannot honour."""
    if problems := list(lacking(spec)):
        raise UnsupportedHere("\n".join(problems))
