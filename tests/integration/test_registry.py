"""Publishing to a real OCI registry: what is pulled from it, what is sent again, and what it refuses."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from cluster.registry_server import PASSWORD, RegistryServer
from diptych_api.after import Publish
from diptych_api.artifact import ArtifactRecord, FileRecord
from diptych_api.errors import HubAuth, RetryLater
from diptych_training.publishing.publish import Published, publish
from diptych_training.run_store import RunStore
from support.finished_run import NAMES, finished_run

pytestmark = pytest.mark.integration


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return finished_run(tmp_path)


def to(store: RunStore, server: RegistryServer, tag: str, password: str = PASSWORD, **settings: Any) -> Published:
    place = f"oci://{server.host}/art/noto:{tag}"
    told = Publish.model_validate({"token": {"name": "registry", "key": "TOKEN"}, "uri": place, **settings})
    (done,) = publish(store, told, {"TOKEN": password})
    return done


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def grown(store: RunStore, size: int) -> bytes:
    """Make the Kohya file of a run this long."""
    data = hashlib.shake_256(b"weights").digest(size)
    record = store.read_json("artifact/artifact.json", ArtifactRecord)
    assert record is not None
    about = FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    store.write_bytes("artifact/kohya/noto.safetensors", data)
    files = record.files | {"kohya/noto.safetensors": about}
    store.write_json("artifact/artifact.json", record.model_copy(update={"files": files}))
    return data


def test_what_is_published_is_pulled_file_by_file(
    store: RunStore, registry_server: RegistryServer, tmp_path: Path
) -> None:
    weights = grown(store, 5_000_000)
    done = to(store, registry_server, "v1")
    registry_server.pull("art/noto:v1", tmp_path / "by-tag")
    pulled = files_in(tmp_path / "by-tag")
    assert (set(pulled), pulled["noto.safetensors"] == weights) == (NAMES, True)
    assert done.name is not None
    registry_server.pull(f"art/noto@{done.name.partition('@')[2]}", tmp_path / "by-digest")
    assert files_in(tmp_path / "by-digest") == pulled


def test_a_second_publication_sends_nothing_and_another_tag_no_file(
    store: RunStore, registry_server: RegistryServer, tmp_path: Path
) -> None:
    to(store, registry_server, "v1")
    assert to(store, registry_server, "v1").plan.is_done
    assert to(store, registry_server, "v2").plan.send == ()
    store.write_bytes("evaluation/compare.png", b"another png")
    assert [item.name for item in to(store, registry_server, "v1").plan.send] == ["evaluation/compare.png"]
    registry_server.pull("art/noto:v1", tmp_path / "out")
    assert (tmp_path / "out/evaluation/compare.png").read_bytes() == b"another png"


def test_a_wrong_password_and_a_registry_that_is_away_are_told_apart(
    store: RunStore, registry_server: RegistryServer
) -> None:
    with pytest.raises(HubAuth, match="refused to publish to oci://"):
        to(store, registry_server, "v1", password="wrong")  # noqa: S106 -- of the test
    registry_server.stop()
    with pytest.raises(RetryLater, match="could not be reached"):
        to(store, registry_server, "v1")
    registry_server.start()
    assert to(store, registry_server, "v1").at


def test_a_layer_that_the_registry_lost_is_sent_again(
    store: RunStore, registry_server: RegistryServer, tmp_path: Path
) -> None:
    weights = grown(store, 100_000)
    to(store, registry_server, "v1")
    digest = hashlib.sha256(weights).hexdigest()
    for lost in registry_server.data.rglob(f"{digest}/**/data"):
        lost.unlink()
    for link in registry_server.data.rglob(f"_layers/sha256/{digest}/link"):
        link.unlink()
    assert [item.name for item in to(store, registry_server, "v2").plan.send] == ["noto.safetensors"]
    registry_server.pull("art/noto:v2", tmp_path / "out")
    assert (tmp_path / "out/noto.safetensors").read_bytes() == weights
