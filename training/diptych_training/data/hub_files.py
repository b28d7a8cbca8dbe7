"""Which files of a Hugging Face data set hold a split: as its README.md says, else as their names say.

The README's front matter is described at https://huggingface.co/docs/hub/datasets-manual-configuration.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml

from diptych_api.errors import DatasetInvalid

TABLES: Final = (".parquet", ".arrow")
README: Final = "README.md"
README_BYTES: Final = 2**20
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""What files of a split may be called."""


def split_files(root: Path, config: str | None, split: str) -> list[Path]:
    """Return the Parquet and Arrow files of a split, in the order of their rows. Raises DatasetInvalid."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix in TABLES]
    return [root / name for name in split_names(root, names, config, split)]


def split_names(root: Path, tables: Iterable[str], config: str | None, split: str) -> list[str]:
    """Return those of the tables that hold a split, in the order of their rows; of ``root`` only README.md is read."""
    names = [n for n in sorted(tables) if "/." not in f"/{n}" and not n.split("/")[-1].startswith("cache-")]
    if not names:
        raise _nothing(root)
    configs = _configs(root)
    chosen = _declared(root, _config(root, configs, config), split, names) if configs else _named(names, config, split)
    if not chosen:
        where = f" of {config}" if config else ""
        raise DatasetInvalid(
            f"{root} has no split {split}{where}; its files are {', '.join(names[:10])}.",
            hint="Check spec.dataset.source.huggingFace.split and config.",
        )
    return chosen


def _nothing(root: Path) -> DatasetInvalid:
    there = next((name for name in ("metadata.jsonl", "metadata.csv") if any(root.rglob(name))), None)
    hint = "Layout HubDataset reads Parquet and Arrow files, as load_dataset and save_to_disk know them."
    return DatasetInvalid(
        f"{root} holds neither *.parquet nor *.arrow.",
        hint=f"It has a {there}: set layout: ImageFolder." if there else hint,
    )


def _named(names: list[str], config: str | None, split: str) -> list[str]:
    of_config = [name for name in names if config is None or config in name.split("/")[:-1]]
    every = [word for words in WORDS.values() for word in words]
    told = any(_says(name, every) for name in of_config)
    if not told and split == "train":
        return of_config
    return [name for name in of_config if _says(name, WORDS.get(split, (split,)))]


def _says(name: str, words: list[str] | tuple[str, ...]) -> bool:
    return any(re.search(rf"(?<![a-z]){re.escape(word.lower())}(?![a-z])", name.lower()) for word in words)


def front_matter(root: Path) -> dict[str, Any]:
    """Return what stands above the README of a data set, in YAML; nothing where it cannot be read."""
    try:
        with (root / README).open("rb") as file:
            text = file.read(README_BYTES).decode()
        _, front, _ = text.split("---", 2)
        told = yaml.safe_load(front)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return told if isinstance(told, dict) else {}


def _configs(root: Path) -> list[dict[str, Any]]:
    """Return what the README's front matter says of configurations."""
    told = front_matter(root).get("configs")
    configs = told if isinstance(told, list) else []
    return [item for item in configs if isinstance(item, dict) and "data_files" in item]


def _config(root: Path, configs: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    names = [str(config.get("config_name", "default")) for config in configs]
    if wanted is None:
        marked = [config for config in configs if config.get("default") is True]
        chosen = marked or [c for c, name in zip(configs, names, strict=True) if name == "default" or len(names) == 1]
    else:
        chosen = [config for config, name in zip(configs, names, strict=True) if name == wanted]
    if not chosen:
        what = f"has no configuration {wanted}" if wanted else "has several configurations"
        raise DatasetInvalid(
            f"{root} {what}; there are {', '.join(names)}.", hint="Set spec.dataset.source.huggingFace.config."
        )
    return chosen[0]


def _declared(root: Path, config: dict[str, Any], split: str, names: list[str]) -> list[str]:
    patterns = [pattern for name, pattern in _patterns(config["data_files"]) if name == split]
    flat = {pattern: pattern.replace("**/", "") for pattern in patterns}
    found = [name for name in names if any(fnmatchcase(name, p) or fnmatchcase(name, flat[p]) for p in patterns)]
    if patterns and not found:
        raise DatasetInvalid(
            f"{root / README} says that split {split} is in {', '.join(patterns[:5])}; no such file is there.",
            hint="Download the data set anew, or check its README.md.",
        )
    return found


def _patterns(told: object) -> Iterator[tuple[str, str]]:
    if isinstance(told, str):
        yield "train", told
    elif isinstance(told, list):
        for item in told:
            if isinstance(item, dict):
                paths = item.get("path")
                yield from ((str(item.get("split")), str(p)) for p in (paths if isinstance(paths, list) else [paths]))
            else:
                yield from _patterns(item)
    elif isinstance(told, dict):
        for split, paths in told.items():
            yield from ((str(split), str(path)) for path in (paths if isinstance(paths, list) else [paths]))
