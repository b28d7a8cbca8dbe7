"""Publishing: what others need, once, to a hub, a folder and a registry; never what a gate withheld."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml

from diptych_api.after import Publish
from diptych_api.artifact import ArtifactRecord, FileRecord
from diptych_api.errors import ArtifactInvalid, HubAuth, RetryLater, SpecInvalid, UnsupportedHere, UserError
from diptych_api.evaluation_report import GateDecision
from diptych_training.publishing.publish import Published, publish, withheld
from diptych_training.run_store import RunStore
from diptych_training.supported import check_supported
from support.bucket import Bucket
from support.finished_run import NAMES, finished_run
from support.model_hub import REPO, TOKEN, ModelHub, model_hub
from support.registry import TOKEN as SECRET
from support.registry import OciRegistry, oci_registry
from support.tracking import past_run

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the hub client's own


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return finished_run(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with model_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def to(store: RunStore, *, dry_run: bool = False, secret: str = TOKEN, **place: Any) -> Published:
    """Publish to the one place that is named."""
    settings = Publish.model_validate({"token": {"name": "hub", "key": "TOKEN"}, **place})
    (done,) = publish(store, settings, {"TOKEN": secret}, dry_run=dry_run)
    return done


def test_a_repository_is_made_private_with_weights_card_evidence_and_provenance(store: RunStore, hub: ModelHub) -> None:
    done = to(store, huggingFaceRepo=REPO)
    assert (hub.private, hub.commits, done.name) == (True, ["Publish noto"], f"hf://{REPO}@{1:040x}")
    assert set(hub.files) == NAMES
    assert hub.files["pytorch_lora_weights.safetensors"] == b"diffusers weights"
    _, head, card = hub.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head)["base_model"] == "owner/sd"
    assert "better than its base" in card
    assert "| KID (lower is better) | 0.2 | 0.1 | -0.2 to -0.05 | 40 |" in card
    assert 'from_pretrained("owner/sd")' in card
    origin = json.loads(hub.files["provenance.json"])
    assert (origin["base"]["revision"], origin["dataset"]["digest"]) == ("a" * 40, f"sha256:{'c' * 64}")
    assert store.read_json("provenance.json") == origin


def test_what_the_source_of_the_pictures_tells_of_its_licence_is_on_the_card(store: RunStore, tmp_path: Path) -> None:
    told = {"licence": "apache-2.0", "credits": ["CREDITS.md", "LICENSE-NOTO"]}
    store.write_bytes("manifest/preparation.json", json.dumps(told).encode())
    to(store, uri=str(tmp_path / "public"))
    card = (tmp_path / "public/README.md").read_text()
    assert "names the licence `apache-2.0`. Whose they are stands in its `CREDITS.md`, `LICENSE-NOTO`." in card


def test_a_second_time_nothing_is_sent_and_a_changed_file_alone_is(store: RunStore, hub: ModelHub) -> None:
    to(store, huggingFaceRepo=REPO, private=False)
    assert to(store, huggingFaceRepo=REPO).plan.is_done
    assert (len(hub.commits), len(hub.uploads), hub.private) == (1, 3, False)
    hub.files |= {"old.safetensors": b"x", ".gitattributes": b"y"}
    store.write_bytes("evaluation/compare.png", b"another png")
    plan = to(store, huggingFaceRepo=REPO, dry_run=True).plan
    assert ([item.name for item in plan.send], plan.remove) == (["evaluation/compare.png"], ("old.safetensors",))
    assert len(hub.commits) == 1
    to(store, huggingFaceRepo=REPO)
    assert set(hub.files) == {*NAMES, ".gitattributes"}
    assert len(hub.uploads) == 3


def test_a_publication_that_was_cut_off_goes_on_where_it_was(store: RunStore, hub: ModelHub) -> None:
    hub.dies_before_commit = True
    with pytest.raises(RetryLater, match="503"):
        to(store, huggingFaceRepo=REPO)
    hub.dies_before_commit = False
    to(store, huggingFaceRepo=REPO)
    assert (set(hub.files), len(hub.uploads)) == (NAMES, 3)


def test_a_hub_that_refuses_is_told_with_what_to_do(store: RunStore, hub: ModelHub) -> None:
    with pytest.raises(HubAuth, match=rf"refused to publish to {REPO}") as caught:
        to(store, huggingFaceRepo=REPO, secret="wrong")  # noqa: S106 -- of the test
    assert "may write" in caught.value.hint
    with pytest.raises(UnsupportedHere, match="variable TOKEN is not set"):
        to(store, huggingFaceRepo=REPO, secret="")


def test_a_folder_tells_the_hashes_of_its_files_and_changes_with_the_artifact(store: RunStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = to(store, uri=str(out))
    assert done.name == str(out)
    assert to(store, uri=str(out)).plan.is_done
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    (out / "mine.txt").write_text("stays")
    store.remove("evaluation/compare.png")
    (out / "noto.safetensors").write_bytes(b"damaged")
    plan = to(store, uri=str(out)).plan
    assert ([item.name for item in plan.send], plan.remove) == (["noto.safetensors"], ("evaluation/compare.png",))
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        *(NAMES - {"evaluation/compare.png"}),
        *("SHA256SUMS", "mine.txt"),
    }


def test_an_object_store_gets_the_same_files(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    monkeypatch.setattr("diptych_training.publishing.publish.file_system", lambda _uri: (bucket, "bucket/noto"))
    to(store, uri="s3://bucket/noto")
    there = RunStore(bucket, "bucket/noto")
    assert there.read_bytes("noto.safetensors") == b"kohya weights"
    assert set(there.sizes("")) == {*NAMES, "SHA256SUMS"}
    assert to(store, uri="s3://bucket/noto").plan.is_done


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with oci_registry() as registry:
        yield registry


def test_a_registry_gets_a_layer_for_each_file_and_each_once(store: RunStore, registry: OciRegistry) -> None:
    uri = f"oci://{registry.host}/me/noto:v1"
    done = to(store, uri=uri, secret=SECRET)
    digest = hashlib.sha256(registry.manifests["v1"]).hexdigest()
    assert done.name == f"{uri}@sha256:{digest}"
    assert set(registry.files("v1")) == NAMES
    assert registry.files("v1")["peft/adapter_model.safetensors"] == b"peft weights"
    sent = len(registry.uploads)
    assert to(store, uri=uri, secret=SECRET).plan.is_done
    to(store, uri=f"oci://{registry.host}/me/noto:v2", secret=SECRET)
    assert (len(registry.uploads), set(registry.manifests)) == (sent, {"v1", "v2"})


def test_a_registry_that_refuses_and_a_reference_that_is_none_are_told(store: RunStore, registry: OciRegistry) -> None:
    with pytest.raises(HubAuth, match="refused to publish"):
        to(store, uri=f"oci://{registry.host}/me/noto:v1", secret="wrong")  # noqa: S106 -- of the test
    with pytest.raises(SpecInvalid, match="no reference"):
        to(store, uri="oci://Host/UPPER")
    with pytest.raises(UnsupportedHere, match="cannot publish to ftp://x"):
        to(store, uri="ftp://x")


def test_files_that_are_not_what_the_artifact_says_are_not_published(store: RunStore, tmp_path: Path) -> None:
    store.write_bytes("artifact/kohya/noto.safetensors", b"other")
    with pytest.raises(ArtifactInvalid, match=r"kohya/noto\.safetensors is not the file"):
        to(store, uri=str(tmp_path / "out"))
    artifact = store.read_json("artifact/artifact.json", ArtifactRecord)
    assert artifact is not None
    digest = hashlib.sha256(store.read_bytes("run.json") or b"").hexdigest()
    outside = {"../run.json": FileRecord(sha256=digest, bytes=1)}
    store.write_json("artifact/artifact.json", artifact.model_copy(update={"files": outside}))
    with pytest.raises(ArtifactInvalid, match="is not the file"):
        to(store, uri=str(tmp_path / "out"))
    store.remove("artifact")
    with pytest.raises(UserError, match="no artifact yet"):
        to(store, uri=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_job_that_names_no_place_is_refused_before_it_trains(tmp_path: Path) -> None:
    _, spec = past_run(tmp_path, uri="mlruns")
    check_supported(spec.model_copy(update={"publish": Publish(uri="published")}))
    with pytest.raises(UnsupportedHere, match=r"spec\.publish names no place"):
        check_supported(spec.model_copy(update={"publish": Publish()}))


def test_what_a_gate_did_not_promote_is_withheld_with_the_reason() -> None:
    assert not withheld(None)
    assert not withheld(GateDecision(outcome="Promoted", model="noto"))
    assert "worse by 0.1" in withheld(GateDecision(outcome="NotPromoted", model="noto", reason="worse by 0.1"))
    assert "has not decided" in withheld(GateDecision(outcome="Offered", model="noto"))
