"""Captions are written for pictures that have none, and what is written is kept."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid, Interrupted, RetryLater, SpecInvalid, UnsupportedHere
from diptych_training import chat
from diptych_training.captioning.cleanup import MAX_LETTERS, cleaned
from diptych_training.captioning.provider import Captions, Shown, TooLarge
from diptych_training.captioning.writing import one_by_one
from diptych_training.data.manifest import Manifest, Selection, Tell, prepare, select, with_captions
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.vision_endpoint import Answer, VisionEndpoint, said, vision_endpoint

Make = Callable[..., Dataset]


def colour(picture: PIL.Image.Image, _number: int) -> Answer:
    pixel = picture.getpixel((0, 0))
    return said(f"The image shows a square of {pixel}.")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "LONGEST_PAUSE_S", 0)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Give a folder of six pictures of one colour each, without any caption."""
    root = tmp_path / "bare"
    root.mkdir()
    for index in range(6):
        PIL.Image.new("RGB", (40, 20), (index, 0, 9)).save(root / f"{index}.png")
    return root


def prepared(spec: Dataset, workdir: Path) -> Manifest:
    return prepare(spec, workdir, lambda _done, _total: None)


def asking(server: VisionEndpoint, **fields: object) -> dict[str, object]:
    return {"provider": "OpenAI", "endpoint": server.url, "model": "seer", "batchSize": 2, **fields}


def test_a_folder_without_captions_is_described_once(bare: Path, tmp_path: Path, dataset: Make) -> None:
    with vision_endpoint(colour) as server:
        spec = dataset(bare, captioning=asking(server, imageSize=64, prompt="What is it?", maxNewTokens=7))
        manifest = prepared(spec, tmp_path / "work")
        assert [e.captions for e in manifest.train] == [(f"a square of ({i}, 0, 9).",) for i in range(6)]
        assert prepared(spec, tmp_path / "work") == manifest
        assert len(server.asked) == 6
        question = server.asked[0]
        assert (question["path"], question["model"], question["max_tokens"]) == ("/v1/chat/completions", "seer", 7)
        assert question["messages"][0]["content"][0] == {"type": "text", "text": "What is it?"}
        prepared(dataset(bare, captioning=asking(server, imageSize=64, prompt="And now?")), tmp_path / "work")
        assert len(server.asked) == 12, "another question has other answers"


def test_an_interrupted_writer_goes_on_where_it_was(bare: Path, tmp_path: Path, dataset: Make) -> None:
    heard: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        heard.append((done, total))
        if heard[-2:] == [(2, 6), (4, 6)] and len(heard) > 6:
            raise Interrupted("enough")

    with vision_endpoint(colour) as server:
        spec = dataset(bare, captioning=asking(server))
        with pytest.raises(Interrupted):
            prepare(spec, tmp_path / "work", stop)
        assert len(server.asked) == 4
        assert len(prepared(spec, tmp_path / "work").train) == 6
        assert len(server.asked) == 6


def test_a_machine_that_takes_over_a_run_takes_its_captions_from_the_object_store(
    bare: Path, tmp_path: Path, dataset: Make
) -> None:
    shared = RunStore(Bucket(), "bucket/local/cache/data")

    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise Interrupted("the machine goes")

    def written(machine: str, tell: Tell) -> Selection:
        folder = tmp_path / machine
        return with_captions(select(spec, folder, tell), spec, folder, tell, shared=shared)

    with vision_endpoint(colour) as server:
        spec = dataset(bare, captioning=asking(server))
        selection = select(spec, tmp_path / "first", lambda _done, _total: None)
        with pytest.raises(Interrupted):
            with_captions(selection, spec, tmp_path / "first", stop, shared=shared)
        (book,) = shared.list("captions")
        shared.write_bytes(f"captions/{book}/damaged.jsonl", b'{"key": 7}\n\xff\n[')
        said = written("second", lambda _done, _total: None)
        assert [entry.captions[0] for entry in said.entries] == [f"a square of ({i}, 0, 9)." for i in range(6)]
        assert len(server.asked) == 6, "four of the first machine, two of the second"
        written("third", lambda _done, _total: None)
        assert len(server.asked) == 6
        for piece in shared.list(f"captions/{book}"):
            shared.remove(f"captions/{book}/{piece}")
        path = next((tmp_path / "first").rglob("captions/*.jsonl"))
        path.write_text(path.read_text().splitlines()[0] + "\n")
        written("first", lambda _done, _total: None)
        told = b"".join(
            shared.read_bytes(f"captions/{book}/{piece}") or b"" for piece in shared.list(f"captions/{book}")
        )
        assert len(told.splitlines()) == 6, "what a process that died had not shared yet is shared by the next one"


def test_pictures_that_have_a_caption_keep_it(bare: Path, tmp_path: Path, dataset: Make) -> None:
    (bare / "1.txt").write_text("mine")
    (bare / "2.txt").write_text("\n")
    with vision_endpoint(colour) as server:
        manifest = prepared(dataset(bare, layout="Sidecar", captioning=asking(server)), tmp_path / "work")
    captions = [entry.captions[0] for entry in manifest.train]
    assert (captions[1], captions[2]) == ("mine", "a square of (2, 0, 9).")
    assert len(server.asked) == 5


def test_a_busy_endpoint_is_asked_again_and_a_dead_one_ends_the_run(bare: Path, tmp_path: Path, dataset: Make) -> None:
    def busy(picture: PIL.Image.Image, number: int) -> Answer:
        return (429, {"Retry-After": "3600"}, b"{}") if number % 2 else colour(picture, number)

    with vision_endpoint(busy) as server:
        spec = dataset(bare, captioning=asking(server, batchSize=1))
        assert len(prepared(spec, tmp_path / "work").train) == 6
        assert len(server.asked) == 12
    with pytest.raises(RetryLater, match="did not answer after 5 tries"):
        prepared(spec, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("  \n "), "the captioner had nothing to say"),
        (said(None), "the endpoint's answer is no text"),
        ((200, {}, b"[" * 2_000_000), "has no choices"),
        ((200, {}, b'{"choices": []}'), "has no choices"),
        ((400, {}, b'{"error": {"message": "unsafe\\u001b[31m"}}'), r"the endpoint answered 400 unsafe\x1b[31m"),
    ],
)
def test_an_answer_without_a_caption_costs_that_picture(
    bare: Path, tmp_path: Path, dataset: Make, answer: Answer, reason: str
) -> None:
    def one_bad(picture: PIL.Image.Image, number: int) -> Answer:
        return answer if picture.getpixel((0, 0)) == (3, 0, 9) else colour(picture, number)

    with vision_endpoint(one_bad) as server:
        spec = dataset(bare, captioning=asking(server), badSamples={"maxFraction": 0.2})
        manifest = prepared(spec, tmp_path / "work")
        (rejected,) = manifest.rejected
        assert (rejected.key, len(manifest.train)) == ("3.png", 5)
        assert rejected.reason.startswith("no caption: ")
        assert reason in rejected.reason
        with pytest.raises(DatasetInvalid, match="1 of 6 samples are unusable"):
            prepared(dataset(bare, captioning=asking(server), badSamples={"maxFraction": 0}), tmp_path / "work")


def test_an_address_that_is_none_is_refused_before_anything_is_asked(bare: Path, tmp_path: Path, dataset: Make) -> None:
    for endpoint in ("http://ollama:PORT/v1", "http://[x/v1", "ftp://here", "http://"):
        spec = dataset(bare, captioning={"provider": "OpenAI", "endpoint": endpoint, "model": "seer"})
        with pytest.raises(SpecInvalid, match="is no http:// or https:// address"):
            prepared(spec, tmp_path / "work")


@pytest.mark.parametrize("status", [301, 401, 404])
def test_what_every_picture_would_be_told_ends_the_run(bare: Path, tmp_path: Path, dataset: Make, status: int) -> None:
    elsewhere = {"Location": "http://127.0.0.1:9/"}
    with vision_endpoint(lambda _picture, _number: (status, elsewhere, b'{"error": "no"}')) as server:
        with pytest.raises(SpecInvalid, match=f"answered {status} no"):
            prepared(dataset(bare, captioning=asking(server)), tmp_path / "work")
        assert len(server.asked) <= 2


def test_the_key_comes_from_the_environment(
    bare: Path, tmp_path: Path, dataset: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with vision_endpoint(colour) as server:
        spec = dataset(bare, captioning=asking(server, apiKey={"name": "ours", "key": "token"}))
        with pytest.raises(UnsupportedHere, match="OPENAI_API_KEY is not set"):
            prepared(spec, tmp_path / "work")
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        prepared(spec, tmp_path / "work")
        assert set(server.keys) == {"Bearer secret"}
    kept = "".join(path.read_text() for path in (tmp_path / "work").rglob("*.jsonl"))
    assert "secret" not in kept


def test_a_template_is_filled_from_columns(tmp_path: Path, dataset: Make) -> None:
    root = tmp_path / "classes"
    for name in ("ripe_fruit/red_apple", "animals/fox"):
        (root / name).parent.mkdir(parents=True)
        PIL.Image.new("RGB", (20, 20), (name[0] == "r" and "red") or "brown").save(root / f"{name}.png")
    captioning = {"provider": "Template", "prompt": "a drawing of {name}, {class}"}
    manifest = prepared(dataset(root, layout="ClassFolders", captioning=captioning), tmp_path / "work")
    assert [entry.captions[0] for entry in manifest.train] == [
        "a drawing of fox, animals",
        "a drawing of red apple, ripe fruit",
    ]
    odd = captioning | {"prompt": "{class.__len__} {artist}"}
    with pytest.raises(DatasetInvalid, match=r"the template asks for class\.__len__"):
        prepared(dataset(root, layout="ClassFolders", captioning=odd), tmp_path / "work")


def test_manifests_may_leave_captions_open(bare: Path, tmp_path: Path, dataset: Make) -> None:
    lines = [{"path": "0.png", "kind": "first"}, {"path": "1.png", "caption": "nan", "kind": "second"}]
    (bare / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    spec = dataset(bare, layout="JsonLines", captioning={"provider": "Template", "prompt": "the {kind}"})
    assert [entry.captions[0] for entry in prepared(spec, tmp_path / "work").train] == ["the first", "the second"]


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("The image shows a red apple.", "a red apple."),
        ("the Picture clearly depicts\n two  dogs", "two dogs"),
        ("In this image, there is a cat", "a cat"),
        ("In the photo we can see hills", "hills"),
        ('"A fox in snow"', "A fox in snow"),
        ("Sure! Here is a detailed caption for the picture: **A lamp**", "A lamp"),
        ("Caption: The illustration features a boat", "a boat"),
        ("The imagery shows promise", "The imagery shows promise"),
        ("An image of a house\u0000\u202e", "An image of a house"),
        ('the sign says "open"', 'the sign says "open"'),
        ("x" * 100_000, "x" * MAX_LETTERS),
    ],
)
def test_phrases_of_models_are_cut(text: str, caption: str) -> None:
    assert cleaned(text) == caption


def test_a_batch_that_is_too_large_is_written_picture_by_picture() -> None:
    sizes: list[int] = []

    def write(batch: Sequence[Shown]) -> Captions:
        sizes.append(len(batch))
        if len(batch) > 1 or batch[0].key == "b":
            raise TooLarge
        return [batch[0].key]

    first, second, third = one_by_one(write, [Shown(key, b"") for key in "abc"])
    assert (first, third, sizes) == ("a", "c", [3, 1, 1, 1])
    assert str(second) == 'Silence(reason="the device\'s memory does not hold one picture")'
