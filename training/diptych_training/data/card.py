"""What a prepared data set is, for people and programs: README.md, preparation.json and the sheets beside them."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import PIL.Image

from diptych_api.dataset import Dataset
from diptych_training.data.class_folders import CLASS
from diptych_training.data.credits import credit_files, licence
from diptych_training.data.entry import Manifest
from diptych_training.data.sheets import duplicates, grouped_copies, preview
from diptych_training.run_store_errors import writing
from diptych_training.run_store_local import write_file

CARD, FACTS, PREVIEW, DUPLICATES = "README.md", "preparation.json", "preview.png", "duplicates.png"
FORMAT: Final = "diptych.preparation/1"
BAR: Final = 24
CLASSES: Final = 50


@dataclass(frozen=True, slots=True)
class Bin:
    """How many pictures have a number in a range of powers of two."""

    first: int
    last: int
    pictures: int


def describe(manifest: Manifest, dataset: Dataset, name: str, folder: Path) -> None:
    """Write card, facts and sheets into ``folder``. Raises StoreUnwritable."""
    sheets = {PREVIEW: preview(manifest, dataset.image), DUPLICATES: duplicates(manifest, dataset.image)}
    told = facts(manifest, dataset)
    files = {name: _png(sheet) for name, sheet in sheets.items() if sheet is not None}
    files[FACTS] = f"{json.dumps(told, indent=2, ensure_ascii=False)}\n".encode()
    files[CARD] = card(told, name, with_copies=DUPLICATES in files).encode()
    for file, data in files.items():
        with writing(str(folder / file), is_remote=False):
            write_file(folder / file, data)


def facts(manifest: Manifest, dataset: Dataset) -> dict[str, Any]:
    """Return counts, rules, histograms and groups of a prepared data set, as JSON has them."""
    entries = [*manifest.train, *manifest.held_out]
    classes = Counter(entry.metadata[CLASS] for entry in entries if CLASS in entry.metadata)
    return {
        "format": FORMAT,
        "digest": f"sha256:{manifest.digest}",
        "source": source_name(dataset),
        "licence": licence(manifest.root),
        "credits": credit_files(manifest.root),
        "layout": dataset.layout,
        "filters": dataset.filters.model_dump(by_alias=True, exclude_none=True),
        "dedup": dataset.dedup.model_dump(by_alias=True) if dataset.dedup.enabled else None,
        "training": len(manifest.train),
        "heldOut": len(manifest.held_out),
        "unusable": len(manifest.rejected),
        "leftOut": Counter(each.rule for each in manifest.dropped),
        "classes": dict(classes.most_common(CLASSES)),
        "shorterSides": [_bin(b) for b in bins(min(entry.size) for entry in entries if entry.size)],
        "captionWords": [_bin(b) for b in bins(len(caption.split()) for e in entries for caption in e.captions)],
        "groups": [{"kept": kept, "leftOut": copies} for kept, copies in grouped_copies(manifest.dropped).items()],
    }


def card(told: dict[str, Any], name: str, *, with_copies: bool) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads."""
    licence_line = [f"license: {json.dumps(told['licence'])}"] if told["licence"] else []
    front = ["---", *licence_line, "task_categories: [text-to-image]", "---"]
    return "\n".join([*front, f"# {name}", "", *_body(told, with_copies=with_copies)]) + "\n"


def _body(told: dict[str, Any], *, with_copies: bool) -> Iterator[str]:
    yield f"{told['training']:,} pictures with captions to train on, {told['heldOut']:,} held out. Prepared by Diptych."
    yield f"\n![Some of the pictures with their captions]({PREVIEW})\n"
    yield from ("| what | |", "|---|---|", f"| source | {_cell(told['source'])}, layout {told['layout']} |")
    yield f"| licence | {_cell(told['licence'] or 'not told by the source')} |"
    if told["credits"]:
        yield f"| credits | {', '.join(map(_cell, told['credits']))}, of the source |"
    yield f"| digest | `{told['digest']}` |"
    yield f"| filters | {_settings(told['filters']) or 'none'} |"
    yield f"| near-duplicates | {_settings(told['dedup']) if told['dedup'] else 'not looked for'} |"
    yield f"| could not be used | {told['unusable']:,} |"
    yield from (f"| left out by {rule} | {count:,} |" for rule, count in told["leftOut"].items())
    if with_copies:
        yield f"\n## Near-duplicates\n![Groups of pictures that look the same]({DUPLICATES})"
    for title, unit, histogram in (("Sizes", "shorter side", "shorterSides"), ("Captions", "words", "captionWords")):
        yield from (f"\n## {title}", f"| {unit} | pictures | |", "|---|---|---|", *_bars(told[histogram]))
    if told["classes"]:
        yield from ("\n## Classes", "| class | pictures |", "|---|---|")
        yield from (f"| {_cell(name)} | {count:,} |" for name, count in told["classes"].items())


def bins(numbers: Iterable[int]) -> list[Bin]:
    """Return how many numbers lie from 1 to 1, 2 to 3, 4 to 7 and so on, without empty ranges at the ends."""
    counts = Counter(max(1, number).bit_length() for number in numbers)
    if not counts:
        return []
    return [Bin(1 << bits - 1, (1 << bits) - 1, counts[bits]) for bits in range(min(counts), max(counts) + 1)]


def source_name(dataset: Dataset) -> str:
    """Return where the pictures came from."""
    source = dataset.source
    if source.hugging_face is not None:
        return f"https://huggingface.co/datasets/{source.hugging_face.repo}/tree/{source.hugging_face.revision}"
    return source.uri or (f"pvc {source.pvc.claim_name}" if source.pvc else "")


def _bin(found: Bin) -> dict[str, int]:
    return {"from": found.first, "to": found.last, "count": found.pictures}


def _bars(histogram: list[dict[str, int]]) -> Iterator[str]:
    most = max((each["count"] for each in histogram), default=1)
    for each in histogram:
        bar = "█" * max(bool(each["count"]), round(BAR * each["count"] / most))
        yield f"| {each['from']:,} to {each['to']:,} | {each['count']:,} | {bar} |"


def _settings(told: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in told.items())


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _png(sheet: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
