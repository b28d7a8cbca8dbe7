"""Adapters named by an hf:// URI, as a publication leaves them: the real client, and a hub on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diptych_api.errors import AdapterInvalid, RetryLater
from diptych_diffusion.adapter_source import fetch_adapter
from support.hub import COMMIT, REPO, Hub, hub_of, impatient

PLACE = f"hf://{REPO}@{COMMIT}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file({"lora": torch.ones(3)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4}))
    (folder / "loader.py").write_text("raise SystemExit")
    with hub_of(folder) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        impatient(monkeypatch)
        yield hub


def test_an_adapter_comes_from_the_hub_at_its_commit_without_code(hub: Hub, tmp_path: Path) -> None:
    found = fetch_adapter(PLACE, tmp_path / "cache")
    assert sorted(path.name for path in found.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    weights = "adapter_model.safetensors"
    assert (found / weights).read_bytes() == (hub.folder / weights).read_bytes()
    assert fetch_adapter(PLACE, tmp_path / "cache") == found


@pytest.mark.parametrize(("status", "error"), [(401, AdapterInvalid), (403, AdapterInvalid), (418, RetryLater)])
def test_what_the_hub_refuses_is_no_trouble_of_the_network(
    hub: Hub, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    hub.refusal = status
    with pytest.raises(error, match=f"{REPO}.*{status}"):
        fetch_adapter(PLACE, tmp_path / "cache")
