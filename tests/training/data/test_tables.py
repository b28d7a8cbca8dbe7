"""CaptionTable and Flickr30k: several rows a picture, and the faults that tables in circulation have."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid
from diptych_training.data.layout import read_layout
from diptych_training.data.manifest import prepare

Make = Callable[..., Dataset]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder with images/1.jpg to images/4.jpg and no table."""
    (tmp_path / "root" / "images").mkdir(parents=True)
    for i in range(1, 5):
        PIL.Image.new("RGB", (4, 4), (60 * i, 0, 0)).save(tmp_path / "root" / f"images/{i}.jpg")
    return tmp_path / "root"


def read(spec: Dataset) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    samples, rejected = read_layout(Path(str(spec.source.uri)), spec)
    return {s.key: s.captions for s in samples}, [str(r) for r in rejected]


def test_all_rows_of_a_picture_are_its_captions_wherever_they_stand(root: Path, dataset: Make) -> None:
    """C9: four of five captions were lost before training began."""
    (root / "captions.txt").write_text('image,number,caption\n1.jpg,0,a\n2.jpg,0,b\n1.jpg,1,"c, d"\n1.jpg,2,a\n')
    captions, rejected = read(dataset(root, layout="CaptionTable"))
    assert captions == {"images/1.jpg": ("a", "c, d"), "images/2.jpg": ("b",)}
    assert rejected == []


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_header_tells_the_delimiter(root: Path, dataset: Make, delimiter: str) -> None:
    rows = [("img", "long"), ("images/1.jpg", "one: a dog"), ("images/2.jpg", "two")]
    (root / "any.csv").write_text("".join(delimiter.join(row) + "\r\n" for row in rows))
    spec = dataset(root, layout="CaptionTable", imageColumn="img", captionColumn="long")
    assert read(spec) == ({"images/1.jpg": ("one: a dog",), "images/2.jpg": ("two",)}, [])


def test_a_limit_counts_pictures_and_keeps_all_their_captions(root: Path, dataset: Make) -> None:
    (root / "captions.csv").write_text("image,caption\n1.jpg,a\n2.jpg,b\n3.jpg,c\n1.jpg,d\n")
    captions, _ = read(dataset(root, layout="CaptionTable", limit=2))
    assert captions == {"images/1.jpg": ("a", "d"), "images/2.jpg": ("b",)}


def test_rows_are_chosen_by_further_columns(root: Path, dataset: Make) -> None:
    (root / "captions.csv").write_text("image,caption,style\n1.jpg,a,ink\n2.jpg,b,oil\n3.jpg,c,ink\n")
    captions, rejected = read(dataset(root, layout="CaptionTable", where={"style": "ink"}))
    assert captions == {"images/1.jpg": ("a",), "images/3.jpg": ("c",)}
    assert rejected == [], "a row that nobody asked for is no loss"
    with pytest.raises(DatasetInvalid, match=r"no row has a column artist. There is: style"):
        read(dataset(root, layout="CaptionTable", where={"artist": "me"}))


@pytest.mark.parametrize("files", [[], ["a.csv", "b.csv"]])
def test_a_table_that_cannot_be_chosen_is_asked_for(root: Path, dataset: Make, files: list[str]) -> None:
    for name in files:
        (root / name).touch()
    with pytest.raises(DatasetInvalid, match=r"has no captions\.csv or captions\.tsv or captions\.txt"):
        read(dataset(root, layout="CaptionTable"))


FLICKR = """\
image_name| comment_number| comment
1.jpg| 0| Two men , one with a "hat" , look .
1.jpg| 1| A dog | a cat .
2.jpg| 4   A dog runs across the grass .
3.jpg| 0| NaN
3.jpg| 1|
4.jpg| 0| Four .
9.jpg| 0| Nobody .
"""


def test_flickr30k_has_spaces_in_its_header_and_quotes_in_captions(root: Path, dataset: Make) -> None:
    (root / "results.csv").write_text(FLICKR)
    captions, _ = read(dataset(root, layout="Flickr30k"))
    assert captions == {
        "images/1.jpg": ('Two men , one with a "hat" , look .', "A dog | a cat ."),
        "images/4.jpg": ("Four .",),
    }


def test_flickr30k_rows_without_delimiter_or_caption_are_quarantined(root: Path, dataset: Make) -> None:
    """C20: a missing caption was learned as the word "nan"."""
    (root / "results.csv").write_text(FLICKR)
    _, rejected = read(dataset(root, layout="Flickr30k"))
    assert rejected == [
        "2.jpg (line 4): 2 of 3 fields, a | is missing: '4   A dog runs across the grass .'",
        "images/3.jpg (line 5): caption is missing: NaN",
        "images/3.jpg (line 6): empty caption",
        "9.jpg (line 8): no such file",
    ]


def test_flickr30k_copies_with_commas_are_read_too(root: Path, dataset: Make) -> None:
    (root / "results.csv").write_text('image_name,comment_number,comment\n1.jpg,0,"a, b"\n')
    assert read(dataset(root, layout="Flickr30k")) == ({"images/1.jpg": ("a, b",)}, [])


def test_flickr30k_lies_as_it_is_downloaded(tmp_path: Path, dataset: Make) -> None:
    """The archive in circulation has its pictures two folders deep, beside the table."""
    deep = tmp_path / "flickr30k_images" / "flickr30k_images"
    deep.mkdir(parents=True)
    PIL.Image.new("RGB", (4, 4)).save(deep / "1.jpg")
    (deep.parent / "results.csv").write_bytes(
        b"image_name| comment_number| comment\n1.jpg| 0| \xc3\xa9\n1.jpg| 1| \xe9\n"
    )
    captions, rejected = read(dataset(tmp_path, layout="Flickr30k"))
    assert captions == {"flickr30k_images/flickr30k_images/1.jpg": ("é",)}
    assert rejected == ["(line 3): not UTF-8"]


def test_the_share_of_bad_rows_is_of_rows_not_of_pictures(root: Path, tmp_path: Path, dataset: Make) -> None:
    """One bad row of ten is a tenth, though there are four pictures; a broken picture loses its rows with it."""
    rows = [f"{1 + i % 3}.jpg,{i}" for i in range(9)]
    (root / "captions.csv").write_text("\n".join(["image,caption", *rows, "4.jpg,nan"]))

    def usable(share: float) -> int:
        spec = dataset(root, layout="CaptionTable", badSamples={"maxFraction": share})
        return len(prepare(spec, tmp_path / "work", lambda _done, _total: None).train)

    assert usable(0.1) == 3
    (root / "images/1.jpg").write_bytes(b"broken")
    with pytest.raises(DatasetInvalid, match=r"4 of 10 samples are unusable \(40\.0%"):
        usable(0.39)
    assert usable(0.4) == 2
