"""PNG files that say how they were made."""

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture_HWC).save(path, format="PNG", pnginfo=texts)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.", hint="Choose another -o.") from error
