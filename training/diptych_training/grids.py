"""Pictures side by side with captions, for people to look at."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER: Final = "#ffffff"
INK: Final = "#1f2328"
FAINT: Final = "#656d76"
LINE: Final = "#d8dee4"
CELL: Final = 144
CAPTION_WIDTH: Final = 176
GAP: Final = 6
MARGIN: Final = 24
BLOCK_GAP: Final = 40
HEADER: Final = 40
FOOTER: Final = 30
CAPTION_LINES: Final = 4
FONT_SIZE: Final = 18


@dataclass(frozen=True, slots=True)
class GridRow:
    """One caption and its pictures, uint8 ``[H, W, 3]``, in the order of the columns; None leaves a cell empty."""

    caption: str
    pictures: tuple[NDArray[np.uint8] | None, ...]


def compare_grid(
    rows: Sequence[GridRow],
    columns: Sequence[str] = ("real", "base", "tuned"),
    *,
    rows_each: int = 8,
    note: str = "",
) -> Image.Image:
    """Return rows of captioned pictures under the names of their columns, in blocks of ``rows_each`` side by side.

    Blocks are about equally long. ``note`` stands below in small letters. Small pictures are enlarged.
    """
    blocks = max(1, math.ceil(len(rows) / rows_each))
    deep = max(1, math.ceil(len(rows) / blocks))
    block_width = CAPTION_WIDTH + len(columns) * (CELL + GAP)
    width = 2 * MARGIN + blocks * block_width + (blocks - 1) * BLOCK_GAP
    height = 2 * MARGIN + HEADER + deep * (CELL + GAP) + (FOOTER if note else 0)
    grid = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(grid)
    for block in range(blocks):
        left = MARGIN + block * (block_width + BLOCK_GAP)
        _draw_header(draw, left, columns)
        for index, row in enumerate(rows[block * deep : (block + 1) * deep]):
            _draw_row(grid, draw, (left, MARGIN + HEADER + index * (CELL + GAP)), row)
    if note:
        draw.text((MARGIN, height - MARGIN), note, fill=FAINT, font=_font(15), anchor="ls")
    return grid


def strip(pictures: Sequence[NDArray[np.uint8]], *, gap: int = 8) -> Image.Image:
    """Return pictures of one size ``[H, W, 3]`` in a row with ``gap`` white pixels around each, none enlarged."""
    height, width = pictures[0].shape[:2]
    sheet = Image.new("RGB", (gap + len(pictures) * (width + gap), height + 2 * gap), PAPER)
    for index, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (gap + index * (width + gap), gap))
    return sheet


def montage(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str], *, across: int = 10, cell: int = CELL * 3 // 4
) -> Image.Image:
    """Return pictures uint8 ``[H, W, 3]``, ``cell`` wide, in lines of ``across``, each over its caption."""
    label = 24
    down = math.ceil(len(pictures) / across)
    size = (2 * MARGIN + across * (cell + GAP) - GAP, 2 * MARGIN + down * (cell + label + GAP) - GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = MARGIN + index % across * (cell + GAP)
        top = MARGIN + index // across * (cell + label + GAP)
        sheet.paste(_enlarged(picture, cell), (left, top))
        text = _cut(caption, cell, _font(13))
        draw.text((left + cell // 2, top + cell + label // 2), text, fill=INK, font=_font(13), anchor="mm")
    return sheet


def _draw_header(draw: ImageDraw.ImageDraw, left: int, columns: Sequence[str]) -> None:
    middle = MARGIN + HEADER // 2 - 4
    for index, name in enumerate(columns):
        x = left + CAPTION_WIDTH + index * (CELL + GAP) + CELL // 2
        draw.text((x, middle), name, fill=INK, font=_font(FONT_SIZE + 2), anchor="mm")
    right = left + CAPTION_WIDTH + len(columns) * (CELL + GAP) - GAP
    draw.line([(left, MARGIN + HEADER - 8), (right, MARGIN + HEADER - 8)], fill=LINE, width=2)


def _draw_row(grid: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], row: GridRow) -> None:
    left, top = at
    text = "\n".join(_lines(row.caption, CAPTION_WIDTH - 16, _font(FONT_SIZE)))
    draw.multiline_text((left, top + CELL // 2), text, fill=INK, font=_font(FONT_SIZE), anchor="lm", spacing=5)
    for index, picture in enumerate(row.pictures):
        if picture is not None:
            grid.paste(_enlarged(picture, CELL), (left + CAPTION_WIDTH + index * (CELL + GAP), top))


def _enlarged(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """Return the whole picture in a square of ``side`` pixels, its aspect kept."""
    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(image.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _lines(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Return the text in at most four lines of ``width`` pixels, the last one cut where there is more."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], " ".join(lines[CAPTION_LINES - 1 :])]
    return [_cut(line, width, font) for line in lines]


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    fitting = bisect_right(range(1, len(text)), float(width), key=lambda end: font.getlength(f"{text[:end]}…"))
    return f"{text[:fitting].rstrip()}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
