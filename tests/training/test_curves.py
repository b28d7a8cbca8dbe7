import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych_training.curves import BEST, VALIDATION, loss_curve, loss_png, smoothed
from diptych_training.letters import Row

ROWS = [
    Row(0, val_loss=0.5),
    *(Row(step, loss=0.4 / step, grad_norm=1.0, learning_rate=1e-3) for step in range(1, 21)),
    Row(10, val_loss=0.2),
    Row(20, val_loss=0.3),
]


def pixels(png: bytes, colour: str) -> int:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) == rgb).all(-1).sum())


def test_the_curve_shows_validation_and_marks_the_best_one(tmp_path: Path) -> None:
    loss_curve(ROWS, tmp_path / "demo" / "loss.png", title="noto-style")
    png = (tmp_path / "demo" / "loss.png").read_bytes()
    assert pixels(png, VALIDATION) > 100
    assert pixels(png, BEST) > 50
    assert Image.open(io.BytesIO(png)).width >= 1000


def test_the_table_beside_it_holds_every_point(tmp_path: Path) -> None:
    loss_curve(ROWS, tmp_path / "loss.png")
    table = list(csv.DictReader((tmp_path / "loss.csv").read_text().splitlines()))
    assert [float(line["val_loss"]) for line in table if line["val_loss"]] == [0.5, 0.2, 0.3]
    losses = [line for line in table if line["loss"]]
    assert float(losses[3]["loss"]) == pytest.approx(0.1)
    assert len(losses) == 20
    assert float(losses[0]["smoothed_loss"]) == float(losses[0]["loss"])


def test_without_validation_no_best_is_marked_and_without_anything_there_is_an_empty_frame() -> None:
    assert pixels(loss_png([row for row in ROWS if row.loss is not None]), BEST) == 0
    assert pixels(loss_png([]), VALIDATION) == 0


def test_smoothing_keeps_a_constant_and_tames_noise() -> None:
    assert [value for _, value in smoothed([(n, 0.25) for n in range(50)])] == pytest.approx([0.25] * 50)
    noise = [(n, float(n % 2)) for n in range(100)]
    assert all(abs(value - 0.5) < 0.06 for _, value in smoothed(noise)[40:])


def test_the_same_rows_give_the_same_file() -> None:
    assert loss_png(ROWS) == loss_png(ROWS)
