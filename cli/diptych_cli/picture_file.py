"""PNG files that say how they were made."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from diptych_api.errors import UserError


def write_png(path: Path, picture_HWC: NDArray[np.uint8], record: Mapping[str, str]) -> None:
    """Write a picture with a text entry for each item of the record. Raises UserError when it cannot be written."""
    texts = PngImagePlugin.PngInfo()
    for name, text in record.items():
        texts.add_itxt(name, text)
    content = io.BytesIO()
    Image.fromarray(picture_HWC).save(content, format="PNG", pnginfo=texts)
    write_bytes(path, content.getvalue())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file. Raises UserError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.", hint="Choose another -o.") from error
