"""The files of an evaluation: pictures one by one, grids for people, report.json."""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from diptych_api.evaluation_report import EvaluationReport
from diptych_api.runstore import EVALUATION, EVALUATION_FILE
from diptych_diffusion.fingerprint import file_digest
from diptych_training.distances import Picture, Pictures
from diptych_training.grids import GridRow, compare_grid, strip
from diptych_training.mosaic import Filler, compose, slot_map
from diptych_training.report_page.beside import MOSAIC_FILE, MOSAIC_MAP
from diptych_training.run_store import RunStore
from diptych_training.run_store_errors import writing

COMPARE_FILE: Final = "compare.png"
ALL_FILE: Final = "grid-all.png"
STRIPS: Final = {"base": "before.png", "tuned": "after.png"}
PAIRS: Final = "pairs"
SLUG: Final = 50
SHOWN: Final = 16


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of every prompt; real ones where the caption has one."""

    prompts: tuple[str, ...]
    real: tuple[Picture | None, ...]
    base: Pictures | None
    tuned: Pictures
    incumbent: Pictures | None = None
    variant: Pictures | None = None
    """Tuned, asked in other words."""
    fillers: tuple[Filler, ...] = ()

    @property
    def drawn(self) -> int:
        """The number of pictures that were drawn."""
        return len(self.tuned) + sum(
            len(side) for side in (self.base, self.incumbent, self.variant) if side is not None
        )

    def columns(self) -> list[str]:
        """Return the names of the sides that there are, in the order of the grid."""
        drawn = {"base": self.base, "incumbent": self.incumbent, "tuned": self.tuned, "variant": self.variant}
        real = ["real"] if any(picture is not None for picture in self.real) else []
        return real + [side for side, pictures in drawn.items() if pictures is not None]

    def picture(self, side: str, n: int) -> Picture | None:
        """Return the picture of one side for the n-th prompt."""
        pictures: Sequence[Picture | None] | Pictures | None = getattr(self, side)
        return None if pictures is None else pictures[n]

    def locations(self, n: int) -> dict[str, str]:
        """Return the file of each picture of the n-th prompt, by side."""
        return {side: f"{side}/{n:03d}.png" for side in self.columns() if self.picture(side, n) is not None}

    def rows(self) -> Iterator[GridRow]:
        """Yield the rows of the grid."""
        for n, prompt in enumerate(self.prompts):
            yield GridRow(prompt, tuple(self.picture(side, n) for side in self.columns()))


def publish(report: EvaluationReport, album: Album, store: RunStore) -> EvaluationReport:
    """Put pictures, grids and report into the store's ``evaluation/`` in one step; return it with the files' hashes."""
    with writing(tempfile.gettempdir(), is_remote=False), tempfile.TemporaryDirectory(prefix="diptych-") as name:
        folder = Path(name)
        _save_pictures(album, folder)
        _save_grids(report, album, folder)
        _save_pairs(album, folder)
        _save_mosaic(album, report.seed, folder)
        saved = sorted(path for path in folder.rglob("*") if path.is_file())
        hashes = {path.relative_to(folder).as_posix(): file_digest(path) for path in saved}
        complete = report.model_copy(update={"files": hashes})
        (folder / EVALUATION_FILE).write_text(
            complete.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8"
        )
        store.put_folder(folder, EVALUATION, last=EVALUATION_FILE)
    return complete


def _save_pictures(album: Album, folder: Path) -> None:
    for n in range(len(album.prompts)):
        for side, location in album.locations(n).items():
            picture = album.picture(side, n)
            if picture is not None:
                (folder / side).mkdir(exist_ok=True)
                Image.fromarray(picture).save(folder / location)


def _save_pairs(album: Album, folder: Path) -> None:
    """Write base and tuned of each prompt side by side, under names that say the prompt."""
    if album.base is None:
        return
    (folder / PAIRS).mkdir()
    for n, (prompt, base, tuned) in enumerate(zip(album.prompts, album.base, album.tuned, strict=True)):
        slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:SLUG].strip("-")
        strip([base, tuned]).save(folder / PAIRS / f"cmp_{n:03d}_{slug or 'no-words'}.png")


def _save_mosaic(album: Album, seed: int, folder: Path) -> None:
    if album.fillers:
        compose(list(album.tuned), album.fillers, seed).save(folder / MOSAIC_FILE)
        told = json.dumps(slot_map(album.prompts, album.fillers, seed), indent=2, ensure_ascii=False)
        (folder / MOSAIC_MAP).write_text(f"{told}\n", encoding="utf-8")


def _save_grids(report: EvaluationReport, album: Album, folder: Path) -> None:
    rows, columns = list(album.rows()), album.columns()
    note = (
        f"Same prompt and seed ({report.seed} + n) for both · {report.scheduler}, {report.inference_steps} steps, "
        f"guidance {report.guidance_scale:g}"
    )
    if rows:
        compare_grid(rows[:SHOWN], columns, note=note).save(folder / COMPARE_FILE)
        for side, name in STRIPS.items():
            shown = [picture for n in range(len(rows[:SHOWN])) if (picture := album.picture(side, n)) is not None]
            if shown:
                strip(shown).save(folder / name)
    if len(rows) > SHOWN:
        compare_grid(rows, columns, rows_each=10, note=note).save(folder / ALL_FILE)
