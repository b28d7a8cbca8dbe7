"""Reads the files of an evaluation and writes report.html beside them."""

import base64
import io
from contextlib import suppress
from typing import Final

from PIL import Image

from diptych_api.artifact import FOLDERS
from diptych_api.errors import RunFailed
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.report import Report
from diptych_api.runstore import ARTIFACT, EVALUATION, EVALUATION_FILE, STATUS_FILE
from diptych_diffusion.folder_kinds import PARITY
from diptych_training.report_page.beside import (
    DAMAGED,
    MOSAIC_FILE,
    MOSAIC_MAP,
    Beside,
    Exported,
    Mosaic,
    answers,
    exported,
)
from diptych_training.report_page.page import SHOWN, SIDES, SMALL, Progress, html
from diptych_training.run_store import RunStore
from diptych_training.sample_files import MOST, sample_path, sample_steps

PAGE_FILE: Final = "report.html"
CURVE_FILE: Final = "loss.png"
QUALITY: Final = 88
WIDE: Final = 1100
"""Pixels of a sheet's longer side on the page."""


def write_page(store: RunStore) -> None:
    """Write evaluation/report.html from what else is in that folder. Raises RunFailed when there is no report."""
    report = store.read_json(f"{EVALUATION}/{EVALUATION_FILE}", EvaluationReport)
    if report is None:
        raise RunFailed(f"{store.uri(EVALUATION)} has no {EVALUATION_FILE}.", hint="Run diptych eval first.")
    places = [place for pair in report.pairs[:SHOWN] for side in SIDES if (place := getattr(pair, side))]
    sources = {place: picture_uri(data) for place in places if (data := store.read_bytes(f"{EVALUATION}/{place}"))}
    curve = store.read_bytes(f"{EVALUATION}/{CURVE_FILE}")
    progress = Progress(
        data_uri(curve, "png") if curve else "", on_the_way(store), store.read_json(STATUS_FILE, Report)
    )
    text = html(report, sources, progress, _beside(store))
    store.write_bytes(f"{EVALUATION}/{PAGE_FILE}", text.encode())


def _beside(store: RunStore) -> Beside:
    """Return what lies beside the report; a damaged file costs its place on the page, and no run its end."""
    mosaic, parts = None, tuple[Exported, ...]()
    sheet, told = (store.read_bytes(f"{EVALUATION}/{name}") for name in (MOSAIC_FILE, MOSAIC_MAP))
    parity = store.read_bytes(f"{ARTIFACT}/{FOLDERS['ONNX']}/{PARITY}")
    with suppress(*DAMAGED):
        mosaic = Mosaic(picture_uri(sheet, WIDE), tuple(answers(told))) if sheet and told else None
    with suppress(*DAMAGED):
        parts = tuple(exported(parity)) if parity else ()
    return Beside(mosaic, parts)


def on_the_way(store: RunStore) -> list[tuple[int, str]]:
    """Return steps and pictures drawn while training: first, last and some between."""
    steps = sample_steps(store)
    last = len(steps) - 1
    shown = steps if last < MOST else [steps[round(n * last / (MOST - 1))] for n in range(MOST)]
    sheets = ((step, store.read_bytes(sample_path(step))) for step in shown)
    return [(step, picture_uri(sheet, WIDE)) for step, sheet in sheets if sheet]


def picture_uri(data: bytes, side: int = SMALL) -> str:
    """Return a PNG as a data URI, one that is larger than ``side`` made smaller for the page."""
    with Image.open(io.BytesIO(data)) as picture:
        if max(picture.size) <= side:
            return data_uri(data, "png")
        small = io.BytesIO()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        picture.save(small, "WEBP", quality=QUALITY)
    return data_uri(small.getvalue(), "webp")


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
