"""Whether the device still works: a GPU that fails stays broken for its process, and only a new one helps.

So does memory that is gone: of a picture as it was drawn before, or of the base's own size.
"""

import re
from dataclasses import dataclass
from typing import Final

import torch

from diptych_api.errors import DeviceOutOfMemory

BROKEN_AFTER: Final = 3
_MESSAGE: Final = re.compile(
    r"\b(CUDA|HIP|cuDNN|MPS|XPU)\b[^.\n]*\berror\b|CUDNN_STATUS_|CUBLAS_STATUS_", re.IGNORECASE
)


@dataclass
class DeviceHealth:
    """Failures of the device one after the other; one picture makes up for all. Read from any thread."""

    largest: int = 0
    """Pixels that have been drawn or should be: want of memory for more tells of the request, not of the device."""
    failures: int = 0
    last: str = ""

    def succeeded(self, pixels: int) -> None:
        """Count a picture of so many pixels."""
        self.largest = max(self.largest, pixels)
        self.failures = 0

    def failed(self, error: Exception, pixels: int) -> None:
        """Count what kept a picture of so many pixels from coming out, if it is the device's fault."""
        if is_device_error(error) or (isinstance(error, DeviceOutOfMemory) and pixels <= self.largest):
            self.failures += 1
            self.last = str(error).partition("\n")[0]

    @property
    def problem(self) -> str | None:
        """Why the process should be replaced, or None."""
        if self.failures < BROKEN_AFTER:
            return None
        return f"The device failed {self.failures} times in a row, last with: {self.last}"


def is_device_error(error: Exception) -> bool:
    """Whether an error is the device's own. Too little memory is not."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    is_named = isinstance(error, RuntimeError) and _MESSAGE.search(str(error)) is not None
    return isinstance(error, torch.AcceleratorError) or is_named
