import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.layout import read_layout

Make = Callable[..., Dataset]


def lines(root: Path, name: str, *rows: object) -> None:
    raw = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (root / name).write_bytes(b"\n".join(raw))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder with a.png, b.png, sub/c.png and no layout."""
    (tmp_path / "root" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        PIL.Image.new("RGB", (4, 4)).save(tmp_path / "root" / name)
    return tmp_path / "root"


def test_an_image_folder_is_read_in_its_own_order(root: Path, dataset: Make) -> None:
    rows = [
        {"file_name": "sub/c.png", "text": " a sea "},
        {"file_name": "./a.png", "text": "é 海", "year": 1900, "by": "me", "box": [1]},
    ]
    lines(root, "metadata.jsonl", *rows)
    samples, rejected = read_layout(root, dataset(root))
    assert rejected == []
    assert [(s.key, s.path, s.captions, s.line) for s in samples] == [
        ("sub/c.png", root / "sub/c.png", ("a sea",), 1), ("a.png", root / "a.png", ("é 海",), 2),
    ]  # fmt: skip
    assert samples[1].metadata == {"year": "1900", "by": "me"}


def test_metadata_may_be_csv(root: Path, dataset: Make) -> None:
    (root / "metadata.csv").write_text(
        '\ufefffile_name,text,by\na.png,"a, quoted\nsea",me\nb.png,x\n', encoding="utf-8"
    )
    samples, rejected = read_layout(root, dataset(root))
    assert [(s.key, s.captions, s.metadata) for s in samples] == [("a.png", ("a, quoted\nsea",), {"by": "me"})]
    assert [str(r) for r in rejected] == ["(line 4): not as many fields as the header has"]


@pytest.mark.parametrize(
    "row", [b'a.png,"open', b"a.png,\xff\n", b"a.png," + b"x" * 200_000], ids=["quote", "code", "long"]
)
def test_a_broken_csv_is_refused(root: Path, dataset: Make, row: bytes) -> None:
    (root / "metadata.csv").write_bytes(b"file_name,text\n" + row)
    with pytest.raises(DatasetInvalid, match=r"metadata\.csv after line 1: "):
        read_layout(root, dataset(root))


def test_json_lines_has_many_captions_and_the_names_of_other_trainers(root: Path, dataset: Make) -> None:
    rows = [
        {"path": "a.png", "caption": ["one", "two", "one", ""]},
        {"path": str(root / "b.png"), "caption": "absolute"},
    ]
    lines(root, "train.jsonl", *rows)
    lines(root, "val.jsonl", {"path": "sub/c.png", "caption": "not read"})
    samples, rejected = read_layout(root, dataset(root, layout="JsonLines"))
    assert [(s.key, s.captions) for s in samples] == [("a.png", ("one", "two")), ("b.png", ("absolute",))]
    assert rejected == []


def test_columns_that_are_named_are_the_only_ones_read(root: Path, dataset: Make) -> None:
    rows = [{"img": "a.png", "long": "x", "caption": "y"}, {"img": "b.png", "caption": "short"}]
    lines(root, "any.jsonl", *rows)
    samples, rejected = read_layout(root, dataset(root, layout="JsonLines", imageColumn="img", captionColumn="long"))
    assert [(s.key, s.captions) for s in samples] == [("a.png", ("x",))]
    assert [str(r) for r in rejected] == ["b.png (line 2): no field long; there is: img, caption"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"file_name": "a.png", "text": ""}, "empty caption"),
        ({"file_name": "a.png", "text": " \n"}, "empty caption"),
        ({"file_name": "a.png", "text": []}, "empty caption"),
        ({"file_name": "a.png", "text": float("nan")}, "caption is not text: nan"),
        ({"file_name": "a.png", "text": None}, "caption is not text: None"),
        ({"file_name": "a.png", "text": ["x", 3]}, "caption is not text: 3"),
        ({"file_name": "a.png", "text": {"en": "x"}}, "caption is not text: {'en': 'x'}"),
        ({"file_name": "a.png", "text": "\ud800"}, "caption is not Unicode text"),
        ({"file_name": "a.png", "text": "x" * 10_001}, "caption longer than 10000 letters"),
        ({"file_name": "a.png"}, "no field text; there is: file_name"),
        ({"text": "x"}, "no field file_name; there is: text"),
        ({"file_name": 7, "text": "x"}, "the picture's name is not text: 7"),
        ({"file_name": "", "text": "x"}, "the picture's name is not text: ''"),
        ({"file_name": "gone.png", "text": "x"}, "no such file"),
        ({"file_name": "sub", "text": "x"}, "not a regular file"),
        ([1], "not a JSON object but list"),
        (b'{"file_name": "a.png", ', "not JSON: "),
        (b"\xff\xfe", "not JSON: "),
        (b"[" * 100_000, "not JSON: "),
        (b'{"text": ' + b"9" * 5000 + b"}", "not JSON: "),
        (b'{"file_name": "' + b"x" * 2**20 + b'"}', "line longer than 1048576 bytes"),
        ({"file_name": "b.png", "text": "again"}, "the same picture as line 1"),
        ({"file_name": "sub/../b.png", "text": "x"}, "leads up by '..'"),
        ({"file_name": "link.png", "text": "again"}, "the same picture as line 1"),
    ],
)
def test_a_bad_line_is_rejected_by_number_and_the_rest_is_read(
    root: Path, dataset: Make, row: object, reason: str
) -> None:
    (root / "link.png").symlink_to("b.png")
    good = [{"file_name": name, "text": "good"} for name in ("b.png", "sub/c.png")]
    lines(root, "metadata.jsonl", good[0], b"", row, good[1])
    samples, rejected = read_layout(root, dataset(root))
    assert [s.key for s in samples] == ["b.png", "sub/c.png"]
    assert [(r.line, r.reason.startswith(reason)) for r in rejected] == [(3, True)], rejected


def test_a_link_inside_the_root_is_a_picture_of_its_own_name(root: Path, dataset: Make) -> None:
    (root / "link.png").symlink_to("b.png")
    lines(root, "metadata.jsonl", {"file_name": "link.png", "text": "x"})
    assert [s.key for s in read_layout(root, dataset(root))[0]] == ["link.png"]


def test_an_absolute_name_may_take_a_link_to_the_root(root: Path, dataset: Make) -> None:
    root.with_name("mount").symlink_to("root")
    lines(root, "metadata.jsonl", {"file_name": f"{root.parent}/mount/sub/c.png", "text": "x"})
    assert [(s.key, s.path) for s in read_layout(root, dataset(root))[0]] == [("sub/c.png", root / "sub/c.png")]


def test_reading_ends_at_the_limit(folder: Path, dataset: Make) -> None:
    samples, _ = read_layout(folder, dataset(folder, limit=5))
    assert [s.key for s in samples] == [f"images/{i:03}.png" for i in range(5)]


@pytest.mark.parametrize(
    ("layout", "files", "words"),
    [
        ("ImageFolder", [], "has no metadata.jsonl"),
        ("ImageFolder", ["list.jsonl"], "set layout: JsonLines"),
        ("ImageFolder", ["sub/metadata.jsonl"], "There is one in sub/: name that folder"),
        ("JsonLines", [], "holds no *.jsonl manifest"),
        ("JsonLines", ["a.jsonl", "b.jsonl"], "several manifests: a.jsonl, b.jsonl"),
    ],
)
def test_a_folder_of_another_layout_gets_a_hint(
    root: Path, dataset: Make, layout: str, files: list[str], words: str
) -> None:
    for name in files:
        (root / name).touch()
    with pytest.raises(DatasetInvalid) as caught:
        read_layout(root, dataset(root, layout=layout))
    assert words in str(caught.value)
