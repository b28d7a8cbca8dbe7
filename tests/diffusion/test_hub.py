"""Bases from the hub: the real client, and a hub on this machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych_api.errors import BaseInvalid, DiptychError, HubAuth, RetryLater, StoreUnwritable
from diptych_api.sources import Base, HuggingFaceModel, SecretKey
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.pipeline import load
from support.hub import COMMIT, REPO, Hub, hub_of, impatient
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("made") / "base")


@pytest.fixture
def hub(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of(shutil.copytree(made, tmp_path / "hub")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        impatient(monkeypatch)
        monkeypatch.setenv("READ_TOKEN", "hf_secret")
        yield hub


def hub_base(key: str | None = "READ_TOKEN") -> Base:
    token = SecretKey(name="hub", key=key) if key else None
    return Base(hugging_face=HuggingFaceModel(repo=REPO, revision=COMMIT, token=token))


def test_a_base_is_downloaded_by_commit_with_the_token_and_only_once(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    hub.reader = "hf_secret"
    copy = resolve_base(hub_base(), tmp_path / "cache")
    assert all(COMMIT in request for request in hub.asked)
    assert not any(request.endswith(".bin") for request in hub.asked)
    (hub.folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    assert load(copy).digest == load(hub.folder).digest
    hub.refusal = 500
    assert resolve_base(hub_base(), tmp_path / "cache") == copy


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (401, HubAuth, "Accept its licence"),
        (403, HubAuth, "Accept its licence"),
        (404, BaseInvalid, "commit hash"),
        (418, RetryLater, "later"),
        (429, RetryLater, "Wait some minutes"),
    ],
)
def test_what_the_hub_refuses_is_told_with_a_way_out(
    hub: Hub, status: int, error: type[DiptychError], hint: str, tmp_path: Path
) -> None:
    hub.refusal = status
    with pytest.raises(error, match=REPO) as caught:
        resolve_base(hub_base(), tmp_path)
    assert hint in caught.value.hint
    assert "hf_secret" not in str(caught.value)


def test_a_gated_base_asks_for_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.reader = "hf_other"
    for key in (None, "READ_TOKEN"):
        with pytest.raises(HubAuth, match="private, gated"):
            resolve_base(hub_base(key), tmp_path)


def test_a_token_that_is_not_set_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubAuth, match="environment variable NO_TOKEN is not set"):
        resolve_base(hub_base("NO_TOKEN"), tmp_path)
    assert not hub.asked


def test_a_repository_that_is_no_pipeline_is_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "model_index.json").unlink()
    with pytest.raises(BaseInvalid, match="not a diffusers pipeline"):
        resolve_base(hub_base(), tmp_path)


def test_a_hub_that_cannot_be_reached_may_be_tried_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense://hub")
    with pytest.raises(RetryLater, match="could not be reached"):
        resolve_base(hub_base(None), tmp_path)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client keeps what came of a block only when it is whole; its own are of 10 MiB."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)


def test_a_transfer_that_is_cut_goes_on_where_it_stopped(hub: Hub, small_blocks: None, tmp_path: Path) -> None:
    hub.cuts = [WEIGHTS]
    copy = resolve_base(hub_base(), tmp_path / "cache")
    assert load(copy).digest == load(hub.folder).digest
    assert len(hub.ranges) == 1


def test_what_a_try_could_not_bring_the_next_one_does(hub: Hub, small_blocks: None, tmp_path: Path) -> None:
    hub.cuts, hub.dies = [WEIGHTS], True
    with pytest.raises(RetryLater, match="500"):
        resolve_base(hub_base(), tmp_path / "cache")
    hub.refusal = None
    copy = resolve_base(hub_base(), tmp_path / "cache")
    assert load(copy).digest == load(hub.folder).digest


def test_a_full_disk_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StoreUnwritable, match=f"Cannot keep {REPO}: Not a directory"):
        resolve_base(hub_base(), tmp_path / "cache")
