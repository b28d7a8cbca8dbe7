import pickle
from pathlib import Path

import pytest

from diptych_api.errors import RunFailed, UnsupportedHere
from diptych_api.report import Report
from diptych_api.sources import Claim, Output, StoreSecret
from diptych_training.run_store import RunStore, runs
from support.bucket import Bucket


@pytest.fixture
def local(tmp_path: Path) -> RunStore:
    return RunStore.open(Output(uri="runs"), "local", "noto-12345678", tmp_path)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, local: RunStore) -> RunStore:
    return local if request.param == "local" else RunStore(Bucket(), "bucket/local/noto")


def test_opening_a_store_makes_nothing(local: RunStore, tmp_path: Path) -> None:
    assert local.local("artifact", "peft") == tmp_path / "runs" / "local" / "noto-12345678" / "artifact" / "peft"
    assert local.list() == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["{}/runs", "file://{}/runs"])
def test_a_local_output_is_a_path_or_a_file_uri(uri: str, tmp_path: Path) -> None:
    store = RunStore.open(Output(uri=uri.format(tmp_path)), "local", "a", Path("/elsewhere"))
    assert store.local() == tmp_path / "runs" / "local" / "a"
    assert store.uri("run.json") == f"file://{tmp_path}/runs/local/a/run.json"


@pytest.mark.parametrize(
    ("output", "field"),
    [
        (Output(pvc=Claim(claim_name="disk")), "spec.output.pvc"),
        (Output(pvc=Claim(claim_name="mounted", path="../..")), "spec.output.pvc.path"),
        (Output(uri="https://example.org/runs"), "spec.output.uri"),
        (Output(uri="runs", credentials=StoreSecret(name="s3", key="NOT_SET")), "spec.output.credentials"),
    ],
)
def test_an_output_that_this_machine_cannot_honour_names_its_field(output: Output, field: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedHere, match=field) as caught:
        RunStore.open(output, "local", "a", tmp_path, {"mounted": tmp_path})
    assert caught.value.hint or field.endswith("path")


def test_a_mounted_volume_is_a_local_folder(tmp_path: Path) -> None:
    store = RunStore.open(Output(pvc=Claim(claim_name="d", path="x")), "ns", "a", tmp_path, {"d": tmp_path})
    assert store.local() == tmp_path / "x" / "ns" / "a"


def test_what_was_written_is_read_back(store: RunStore) -> None:
    report = Report(phase="Training", step=3, loss=0.5, time="2026-01-02T03:04:05Z")  # type: ignore[arg-type] # parsed
    store.write_bytes("a/b.bin", b"\x00\xff")
    store.write_json("status.json", report)
    store.write_json("plain.json", {"ä": [1, None]})
    assert store.read_bytes("a/b.bin") == b"\x00\xff"
    assert store.read_json("status.json", Report) == report
    assert store.read_json("plain.json") == {"ä": [1, None]}
    assert store.read_json("absent.json") is None
    assert store.list() == ("a", "plain.json", "status.json")
    assert store.list("a") == ("b.bin",)


def test_a_damaged_json_file_is_named(store: RunStore) -> None:
    store.write_bytes("status.json", b'{"phase": "Tra')
    with pytest.raises(RunFailed, match=r"status\.json"):
        store.read_json("status.json", Report)
    with pytest.raises(RunFailed, match=r"status\.json"):
        store.read_json("status.json")


def test_removing_is_for_files_and_folders_and_what_is_not_there(store: RunStore) -> None:
    store.write_bytes("a/b/c", b"1")
    store.write_bytes("d", b"2")
    for path in ("a", "d", "never"):
        store.remove(path)
    assert not any(store.exists(path) for path in ("a/b/c", "a", "d"))


def test_a_folder_replaces_what_was_there(store: RunStore, tmp_path: Path) -> None:
    for number, names in enumerate([("old.json", "both.json"), ("new.json", "both.json", "deep/er.txt")]):
        source = tmp_path / f"source{number}"
        for name in names:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(f"{number} {name}")
        store.put_folder(source, "artifact")
    found = store.get_folder("artifact")
    contents = {path.relative_to(found).as_posix(): path.read_text() for path in found.rglob("*") if path.is_file()}
    assert contents == {"new.json": "1 new.json", "both.json": "1 both.json", "deep/er.txt": "1 deep/er.txt"}


def test_lines_are_added_and_a_torn_one_is_forgotten(store: RunStore) -> None:
    store.append("log.jsonl", "one", "two")
    store.append("log.jsonl", "drei äöü")
    assert store.read_lines("log.jsonl") == ("one", "two", "drei äöü")
    assert store.read_lines("none.jsonl") == ()


def test_runs_finds_every_run_below_an_output(tmp_path: Path) -> None:
    output = Output(uri="out")
    for namespace, name in [("local", "b-1"), ("team", "a-2"), ("local", "a-1")]:
        RunStore.open(output, namespace, name, tmp_path).write_json("run.json", {})
    RunStore.open(output, "local", "cache", tmp_path).write_bytes("shard", b"")
    assert [(s.namespace, s.name) for s in runs(output, tmp_path)] == [
        ("local", "a-1"),
        ("local", "b-1"),
        ("team", "a-2"),
    ]
    assert runs(Output(uri="nowhere"), tmp_path) == []


def test_the_cache_lies_beside_the_runs(local: RunStore, tmp_path: Path) -> None:
    assert local.beside("cache").local() == tmp_path / "runs" / "local" / "cache"


def test_a_store_reaches_another_process(local: RunStore) -> None:
    assert pickle.loads(pickle.dumps(local)) == local  # noqa: S301 -- our own bytes
