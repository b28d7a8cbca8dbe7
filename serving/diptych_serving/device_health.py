"""Whether the device still works: a GPU that fails stays broken for its process, and only a new one helps."""

import re
from dataclasses import dataclass
from typing import Final

import torch

BROKEN_AFTER: Final = 3
_MESSAGE: Final = re.compile(
    r"\b(CUDA|HIP|cuDNN|MPS|XPU)\b[^.\n]*\berror\b|CUDNN_STATUS_|CUBLAS_STATUS_", re.IGNORECASE
)


@dataclass
class DeviceHealth:
    """Failures of the device one after the other; one success makes up for all. Read from any thread."""

    failures: int = 0
    last: str = ""

    def succeeded(self) -> None:
        """Count a forward pass that went through."""
        self.failures = 0

    def failed(self, error: Exception) -> None:
        """Count an error, if it is the device's."""
        if is_device_error(error):
            self.failures += 1
            self.last = str(error).partition("\n")[0]

    @property
    def problem(self) -> str | None:
        """Why the process should be replaced, or None."""
        if self.failures < BROKEN_AFTER:
            return None
        return f"The device failed {self.failures} times in a row, last with: {self.last}"


def is_device_error(error: Exception) -> bool:
    """Whether an error is the device's own. Too little memory is not: smaller requests go on."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    is_named = isinstance(error, RuntimeError) and _MESSAGE.search(str(error)) is not None
    return isinstance(error, torch.AcceleratorError) or is_named
