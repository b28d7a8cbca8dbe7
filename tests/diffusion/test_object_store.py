"""What an object store answers, as the error of a file: real requests to a server that always answers the same."""

import errno
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from diptych_diffusion.object_store import ObjectStore, file_system
from support.bucket import Bucket
from support.refusing_server import Answer, refusing

HURRIED: Final = {"max_retries": 2, "backoff": {"init_backoff": timedelta(milliseconds=1)}}
CALLS: Final[dict[str, Callable[[ObjectStore], object]]] = {
    "put": lambda store: store.pipe_file("bucket/a/b", b"x"),
    "create": lambda store: store.swap("bucket/a/b", b"x", None),
    "get": lambda store: store.cat_file("bucket/a/b"),
    "list": lambda store: store.ls("bucket/a"),
    "find": lambda store: store.find("bucket/a"),
    "remove": lambda store: store.rm("bucket/a/b"),
}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(403, "InvalidAccessKeyId", "No such key."), PermissionError, "InvalidAccessKeyId: No such key."),
        (Answer(400, "ExpiredToken", "Too old."), PermissionError, "ExpiredToken: Too old."),
        (Answer(404, "NoSuchBucket", "None."), FileNotFoundError, "the bucket bucket does not exist"),
        (Answer(507, "XMinioStorageFull", "Disk is full."), OSError, "XMinioStorageFull: Disk is full."),
        (Answer(503, "SlowDown", "Ask less."), ConnectionError, "SlowDown: Ask less."),
        (Answer(301, "PermanentRedirect", "Elsewhere."), OSError, "is in another region than AWS_REGION says"),
        (Answer(None), ConnectionError, "cannot be reached, or does not answer in time"),
    ],
    ids=lambda value: (value.code or "cut") if isinstance(value, Answer) else None,
)
def test_a_refusal_is_an_error_of_its_kind_in_the_stores_words(
    keys: None, monkeypatch: pytest.MonkeyPatch, call: str, answer: Answer, kind: type[OSError], words: str
) -> None:
    with refusing(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(kind, match=words) as caught:
            CALLS[call](ObjectStore("s3", HURRIED))
    if answer.status == 507:
        assert caught.value.errno == errno.ENOSPC
    assert "secret" not in str(caught.value)


def test_who_is_too_busy_is_asked_again(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(503, "SlowDown", "Ask less.")
    with refusing(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(ConnectionError):
            ObjectStore("s3", HURRIED).pipe_file("bucket/a", b"x")
    assert answer.asked == 3


def test_a_store_reaches_another_process_without_any_secret(keys: None) -> None:
    store, path = file_system("s3://bucket/folder/")
    assert path == "bucket/folder"
    packed = pickle.dumps(store)
    assert b"secret" not in packed
    assert pickle.loads(packed).unstrip_protocol(path) == "s3://bucket/folder"  # noqa: S301 -- our own bytes


def test_objects_are_files_in_folders(tmp_path: Path) -> None:
    store = Bucket()
    for name in ("a/b/c", "a/b/d", "a/e", "ab"):
        store.pipe_file(f"bucket/{name}", name.encode())
    assert sorted(store.ls("bucket/a", detail=False)) == ["bucket/a/b", "bucket/a/e"]
    assert store.find("bucket/a") == ["bucket/a/b/c", "bucket/a/b/d", "bucket/a/e"]
    assert store.find("bucket/a", maxdepth=1) == ["bucket/a/e"]
    assert store.find("bucket/a/e") == ["bucket/a/e"]
    assert (store.isdir("bucket/a"), store.isfile("bucket/a/e"), store.exists("bucket/a/x")) == (True, True, False)
    store.get(["bucket/a/e", "bucket/ab"], [str(tmp_path / "one"), str(tmp_path / "two")])
    assert (tmp_path / "two").read_bytes() == b"ab"
    with store.open("bucket/a/b/c") as file:
        file.seek(2)
        assert file.read() == b"b/c"
    store.rm("bucket/a", recursive=True)
    assert store.find("bucket") == ["bucket/ab"]


def test_a_large_object_comes_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych_diffusion.object_store.BLOCK", 7)
    store = Bucket()
    for size in (0, 7, 20):
        store.pipe_file("bucket/large", bytes(range(size)))
        store.get_file("bucket/large", str(tmp_path / "large"))
        assert (tmp_path / "large").read_bytes() == bytes(range(size))
