import numpy as np
import pytest
from PIL import Image

from diptych_training.distances import Picture
from diptych_training.grids import CELL, GridRow, compare_grid, montage

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour: tuple[int, int, int], height: int = 64, width: int = 64) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def cells(grid: Image.Image, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return the top left corners of the cells of one colour, by column."""
    is_colour = (np.asarray(grid) == colour).all(-1)
    corner = is_colour.copy()
    corner[1:] &= ~is_colour[:-1]
    corner[:, 1:] &= ~is_colour[:, :-1]
    return sorted((int(x), int(y)) for y, x in np.argwhere(corner))


def row(caption: str = "a thing") -> GridRow:
    return GridRow(caption, (plain(RED), plain(GREEN), plain(BLUE)))


def test_every_row_shows_its_pictures_side_by_side_in_the_order_of_the_columns() -> None:
    grid = compare_grid([row() for _ in range(3)])
    red, green, blue = (cells(grid, colour) for colour in (RED, GREEN, BLUE))
    assert len(red) == len(green) == len(blue) == 3
    assert all(r[1] == g[1] == b[1] for r, g, b in zip(red, green, blue, strict=True))
    assert red[0][0] + CELL < green[0][0] + 1
    assert green[0][0] + CELL < blue[0][0] + 1
    assert ((np.asarray(grid) == RED).all(-1)).sum() == 3 * CELL * CELL, "pictures are enlarged whole"


@pytest.mark.parametrize(("count", "blocks", "deepest"), [(1, 1, 1), (8, 1, 8), (9, 2, 5), (16, 2, 8), (40, 5, 8)])
def test_many_rows_wrap_into_blocks_of_even_length(count: int, blocks: int, deepest: int) -> None:
    corners = cells(compare_grid([row(f"thing {n}") for n in range(count)]), RED)
    columns = {x for x, _ in corners}
    assert len(corners) == count
    assert len(columns) == blocks
    assert max(sum(x == column for x, _ in corners) for column in columns) == deepest


def test_captions_and_headers_are_drawn_and_long_ones_stay_out_of_the_pictures() -> None:
    long = GridRow("Donaudampfschifffahrtsgesellschaftskapitän " * 20, row().pictures)
    grid = compare_grid([long, row()], note="same seed")
    left = cells(grid, RED)[0][0]
    caption = np.asarray(grid)[:, :left]
    assert (caption < 128).any(), "there is text"
    assert (np.asarray(grid) == RED).all(-1).sum() == 2 * CELL * CELL, "no letter covers a picture"
    without = compare_grid([GridRow("", row().pictures)])
    assert (np.asarray(without)[70:, :left] > 200).all()


def test_a_missing_picture_leaves_its_cell_empty_and_a_wide_one_keeps_its_aspect() -> None:
    grid = compare_grid([GridRow("x", (None, plain(GREEN, 32, 64)))], columns=("real", "tuned"))
    assert cells(grid, RED) == []
    assert (np.asarray(grid) == GREEN).all(-1).sum() == CELL * CELL // 2


def test_a_grid_of_nothing_is_still_a_picture() -> None:
    assert compare_grid([]).width > 100


def test_the_montage_holds_every_picture_over_its_caption() -> None:
    sheet = montage([plain(RED)] * 5, ["a caption that is much too long for one cell"] * 5, across=3)
    assert len(cells(sheet, RED)) == 5
    assert len({y for _, y in cells(sheet, RED)}) == 2
