"""The ClassFolders layout: a folder for each class. Its name is the caption, and stays as metadata."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.row import Row
from diptych_training.data.sample import Rejected
from diptych_training.data.walk import pictures

CLASS: Final = "class"
SIDES: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def rows(root: Path, dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield a row for each picture at any depth; the folder right below ``root`` is its class."""
    classes = [path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not classes:
        raise DatasetInvalid(f"{root} holds no class folders.", hint="Put the pictures of each class into its own.")
    if SIDES.issuperset(name.lower() for name in classes):
        raise DatasetInvalid(
            f"The folders of {root} are sides of a split, not classes: {', '.join(sorted(classes))}.",
            hint=f"Name one of them as the source, such as {root / min(classes)}, and hold out by spec.dataset.split.",
        )
    for picture in pictures(root):
        if isinstance(picture, Rejected):
            yield picture
        elif "/" not in picture:
            yield Rejected(picture, None, "lies in no class folder")
        else:
            name = picture.split("/", 1)[0]
            caption = "" if dataset.writes_captions else name.replace("_", " ").replace("-", " ")
            yield Row(None, picture, caption, {CLASS: name})
