"""`diptych data`: a data set by itself, as a run would have it."""

import json
from pathlib import Path

import PIL.Image
import pytest

from support.recorded_run import diptych
from support.tiny_jobs import write_pictures

CHANGES = ("--set", "dataset.dedup.enabled=true", "--set", "dataset.split.count=3")


@pytest.fixture
def pictures(place: Path) -> Path:
    """Give twelve pictures of which two are the same, in the place where job.yaml looks."""
    folder = write_pictures(place / "pictures")
    (folder / "images/01.png").write_bytes((folder / "images/00.png").read_bytes())
    return folder


def test_a_data_set_is_prepared_and_looked_at(pictures: Path) -> None:
    ended = diptych("data", "prepare", "job.yaml", *CHANGES)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.splitlines()[:2] == [
        "✓ noto-style: 8 pictures to train on, 3 held out",
        "  left out as asked: duplicate 1 (dropped.jsonl)",
    ]
    assert f"diptych run job.yaml {' '.join(CHANGES)}" in ended.stdout
    (pictures / "images/02.png").unlink()
    again = diptych("data", "prepare", "job.yaml", *CHANGES, "--json")
    told = json.loads(again.stdout)
    assert (told["training"], told["leftOut"]) == (8, {"duplicate": 1}), "done is done"
    assert (Path(told["folder"]) / "duplicates.png").is_file()
    assert "There is no place" in diptych("data", "pack", "job.yaml", *CHANGES).stderr
    (pictures / "images/02.png").write_bytes((pictures / "images/00.png").read_bytes())
    assert "changed after" in diptych("data", "pack", "job.yaml", *CHANGES, "--to", "out").stderr
    sheet = diptych("data", "preview", "job.yaml", *CHANGES, "-n", "5", "-o", "sheet.png")
    assert sheet.exit_code == 0, sheet.output
    with PIL.Image.open("sheet.png") as picture:
        assert picture.width > 300


def test_captions_are_written_in_a_phase_of_their_own_and_told_where_they_are_too_long(pictures: Path) -> None:
    lines = (pictures / "metadata.jsonl").read_text().splitlines()
    told = [line if number < 7 else line.partition(', "text"')[0] + "}" for number, line in enumerate(lines)]
    (pictures / "metadata.jsonl").write_text("\n".join(told))
    long = "a picture of many words " * 20
    ended = diptych(
        "data",
        "prepare",
        "job.yaml",
        *("--set", "dataset.captioning.provider=Template"),
        *("--set", f"dataset.captioning.prompt={long}" + "{name}"),
    )
    assert ended.exit_code == 0, ended.output
    assert "5 of 12 captions have more than 16 tokens" in " ".join(ended.stderr.split())
    (log,) = Path().rglob("log.jsonl")
    last = {line["phase"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert (last["Captioning"]["done"], last["Captioning"]["total"]) == (5, 5)
    assert last["Preparing"]["pictures"] == 12


def test_a_packed_data_set_says_how_to_read_it(pictures: Path) -> None:
    first = diptych("data", "pack", "job.yaml", "--to", "out")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("✓ 12 pictures packed: out/noto-style-")
    assert "layout: ImageFolder" in first.stdout
    again = json.loads(diptych("data", "pack", "job.yaml", "--to", "out", "--json").stdout)
    assert (again["made"], again["pictures"]) == (False, 12)
    refused = diptych("data", "pack", "job.yaml", "--to", "ftp://there")
    assert (refused.exit_code, "ftp://there is no folder" in refused.stderr) == (2, True)
    assert pictures.is_dir()


def test_what_cannot_be_prepared_says_why(place: Path) -> None:
    ended = diptych("data", "prepare", "job.yaml", "--json")
    assert ended.exit_code == 2
    assert "There is no" in json.loads(ended.stderr.splitlines()[-1])["error"]["message"]
    none = diptych("data", "preview", "job.yaml")
    assert none.exit_code == 2
    assert "has no data set yet" in none.stderr
    assert "diptych data prepare" in none.stderr


def test_a_sheet_needs_a_name_of_a_picture(pictures: Path) -> None:
    assert diptych("data", "prepare", "job.yaml").exit_code == 0
    ended = diptych("data", "preview", "job.yaml", "-o", "sheet.xyz")
    assert ended.exit_code == 2
    assert "sheet.xyz" in ended.stderr
    assert pictures.is_dir()
