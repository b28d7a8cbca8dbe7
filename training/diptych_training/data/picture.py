"""From a picture file to RGB pixels of a square, or of the shape of an aspect bucket.

Anything may be in the file, so it is read under limits: size on disk, formats by content, pixels before decoding.
Colour profiles are ignored: pixels are taken as sRGB.
"""

import os
import stat
import threading
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from PIL.ExifTags import Base as Exif
from PIL.Image import Transpose

from diptych_api.dataset import Image
from diptych_api.errors import DatasetInvalid
from diptych_training.data.buckets import shape_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_FILE_BYTES, MAX_PIXELS = 32 * 2**20, 32_000_000
GREY_16 = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
MODES = GREY_16 | {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr"}
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""How each EXIF orientation is undone."""

_warnings_lock = threading.Lock()  # catch_warnings changes filters of the whole process


def read_picture(path: Path, image: Image) -> NDArray[np.uint8]:
    """Return the file's pixels as uint8 ``[H, W, 3]``. Raises DatasetInvalid for files that are refused."""
    try:
        return fit(decode(read_bytes(path)), image)
    except DatasetInvalid as error:
        raise DatasetInvalid(f"{path}: {error.message}.", hint=error.hint) from error


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return uint8 ``[H, W, 3]`` as float32 ``[3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float() / 127.5 - 1


def read_bytes(path: Path) -> bytes:
    """Return the contents of a regular file of at most 32 MiB. Raises DatasetInvalid with the reason alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise DatasetInvalid("not a regular file")
            if about.st_size > MAX_FILE_BYTES:
                raise DatasetInvalid(f"{about.st_size} bytes, more than {MAX_FILE_BYTES}")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DatasetInvalid(f"cannot be read: {error.strerror}") from error
    if not 0 < len(data) <= MAX_FILE_BYTES:
        raise DatasetInvalid("empty file" if not data else "grows while it is read")
    return data


def decode(data: bytes) -> PIL.Image.Image:
    """Return the upright first frame in its own mode, decoded. Raises DatasetInvalid with the reason alone."""
    try:
        picture = _open(data)
        fault = _fault(picture)
        if fault is None:
            picture.load()
            return _upright(picture)
    except PIL.UnidentifiedImageError as error:
        raise DatasetInvalid(f"not a picture ({', '.join(FORMATS)})") from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise DatasetInvalid(f"more than {MAX_PIXELS // 10**6} million pixels") from error
    except Exception as error:  # decoders answer broken files with any of a dozen types
        raise DatasetInvalid(f"cannot be decoded: {str(error) or type(error).__name__}"[:300]) from error
    raise DatasetInvalid(fault)


def fit(picture: PIL.Image.Image, image: Image) -> NDArray[np.uint8]:
    """Return a decoded picture as uint8 ``[H, W, 3]`` of its shape: the largest middle part, or all of it stretched.

    Resized by antialiased bicubic; the part is cut at whole pixels.
    """
    shape = shape_of(picture.size, image)
    width, height = picture.size
    box = (0, 0, width, height)
    if image.crop == "Center":
        wide = min(width, max(1, height * shape[0] // shape[1]))
        high = min(height, max(1, width * shape[1] // shape[0]))
        left, top = (width - wide) // 2, (height - high) // 2
        box = (left, top, left + wide, top + high)
    # A box, not resize and crop: the long side of a sliver would take gigabytes in between.
    return np.asarray(rgb(picture, image.background).resize(shape, PIL.Image.Resampling.BICUBIC, box=box))


def rgb(picture: PIL.Image.Image, background: str) -> PIL.Image.Image:
    """Return a decoded picture as RGB of eight bits; where it is transparent, ``background`` shows."""
    if picture.mode in GREY_16:
        grey = np.asarray(picture).astype(np.uint32)
        picture = PIL.Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    rgba = picture.convert("RGBA")
    behind = PIL.Image.new("RGBA", rgba.size, background)
    return PIL.Image.alpha_composite(behind, rgba).convert("RGB")


def _open(data: bytes) -> PIL.Image.Image:
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(BytesIO(data), formats=FORMATS)


def _fault(picture: PIL.Image.Image) -> str | None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        return f"{width}×{height} pixels, more than {MAX_PIXELS // 10**6} million"
    return None if picture.mode in MODES else f"pixels of mode {picture.mode} have no fixed white"


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = UPRIGHT.get(picture.getexif().get(Exif.Orientation, 1))
    return picture if method is None else picture.transpose(method)
