"""How sharp a picture is: the variance of the Laplacian of its grey values, 0 to 255.

A blurred picture changes little from pixel to pixel. Kernel and mirrored border are those of OpenCV's Laplacian.
"""

import numpy as np
import PIL.Image


def sharpness(picture: PIL.Image.Image, side: int) -> float:
    """Return the variance, measured where the shorter side is at most ``side`` pixels: at the size that training sees.

    Larger pictures are made smaller first, so that a photograph of many pixels is not called blurred for having them.
    """
    grey = picture.convert("L")
    scale = side / min(grey.size)
    if scale < 1:
        size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        grey = grey.resize(size, PIL.Image.Resampling.BICUBIC, reducing_gap=2)
    x = np.pad(np.asarray(grey, np.int16), 1, mode="reflect")
    laplacian = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]
    count, total = laplacian.size, int(laplacian.sum(dtype=np.int64))
    squares = int(np.einsum("ij,ij->", laplacian, laplacian, dtype=np.int64))
    return (squares - total * total / count) / count
