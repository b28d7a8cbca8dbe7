"""The listing of a HubDataset that ``hub_dataset`` made a folder of: a line for each row that was chosen."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych_api.dataset import Dataset
from diptych_training.data.lines import TOO_LONG, bounded_lines
from diptych_training.data.row import Row
from diptych_training.data.sample import Rejected

LISTING: Final = "rows.jsonl"


def rows(root: Path, _dataset: Dataset) -> Iterator[Row | Rejected]:
    """Yield the rows of the listing."""
    for _, data in bounded_lines(root, LISTING):
        if data is None:
            yield Rejected("", None, TOO_LONG)
            continue
        line = json.loads(data)
        if "reason" in line:
            yield Rejected(line["file"], line["row"], line["reason"])
        else:
            yield Row(line["row"], line["name"], line["captions"], line["metadata"])
