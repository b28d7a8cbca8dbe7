"""Random networks of the real classes write captions, alone and in batches the same."""

from pathlib import Path

import PIL.Image
import pytest
import torch

from diptych_api.dataset import Captioning, Dataset
from diptych_api.errors import SpecInvalid
from diptych_training.captioning import networks
from diptych_training.captioning.networks import Network
from diptych_training.captioning.provider import Silence, captioner
from diptych_training.captioning.writing import one_by_one
from diptych_training.data.manifest import prepare
from support.judges import make_clip
from support.seers import make_blip, make_florence2, make_qwen2_vl, shown

pytestmark = pytest.mark.slow
MAKERS = {"BLIP": make_blip, "Florence2": make_florence2, "Qwen2VL": make_qwen2_vl}


PICTURES = (shown("a", 40, 30), shown("bb", 64, 64), shown("ccc", 20, 50))


@pytest.fixture(params=MAKERS)
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Captioning:
    """Give the settings of one network after the other."""
    folder = MAKERS[request.param](tmp_path / "network")
    return Captioning(provider=request.param, model=str(folder), max_new_tokens=12)


def test_a_batch_says_what_each_picture_alone_says(asked: Captioning) -> None:
    identity, write = captioner(asked)
    together = write(PICTURES)
    assert together == [caption for picture in PICTURES for caption in write([picture])]
    assert len(set(map(str, together))) > 1, "it looks at the picture"
    assert all(isinstance(caption, str) and "<" not in caption[:3] for caption in together)
    other = captioner(asked.model_copy(update={"max_new_tokens": 3}))
    assert other[0] != identity
    assert all(len(str(short)) < len(str(long)) for short, long in zip(other[1](PICTURES), together, strict=True))


def test_a_picture_that_a_network_does_not_take_costs_no_other_one_its_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, write = captioner(Captioning(provider="BLIP", model=str(make_blip(tmp_path / "blip")), max_new_tokens=4))
    assert isinstance(write, Network)
    real = networks._loaded(write.provider, write.folder)

    def picky(pictures: list[PIL.Image.Image], prompt: str, most: int) -> list[str | Silence]:
        if any(picture.width == 64 for picture in pictures):
            raise ValueError("absolute aspect ratio must be smaller than 200")
        return list(real(pictures, prompt, most))

    monkeypatch.setattr(networks, "_loaded", lambda *_: picky)
    first, second, third = one_by_one(write, PICTURES)
    assert isinstance(second, Silence)
    assert "aspect ratio" in second.reason
    assert isinstance(first, str)
    assert isinstance(third, str)


def test_a_folder_is_described_by_a_network(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for picture in PICTURES:
        (tmp_path / "pictures" / f"{picture.key}.png").write_bytes(picture.png)
    captioning = {"provider": "BLIP", "model": str(make_blip(tmp_path / "blip")), "prompt": "a", "batchSize": 2}
    spec = Dataset.model_validate({"source": {"uri": str(tmp_path / "pictures")}, "captioning": captioning})
    manifest = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    assert len(manifest.train) + len(manifest.rejected) == 3
    assert all(entry.captions[0].startswith("a") for entry in manifest.train)


def test_memory_that_runs_out_costs_time_and_no_caption(asked: Captioning, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network.of(asked)
    wanted, write = network(PICTURES), networks._loaded(network.provider, network.folder)

    def small(pictures: list[PIL.Image.Image], prompt: str | None, limit: int) -> list[str]:
        if len(pictures) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return write(pictures, prompt, limit)

    monkeypatch.setattr(networks, "_loaded", lambda _provider, _folder: small)
    assert one_by_one(network, PICTURES) == wanted


def test_a_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "clip")
    with pytest.raises(SpecInvalid, match=r"spec\.dataset\.captioning\.model: .* is of kind clip; blip are known"):
        captioner(Captioning(provider="BLIP", model=str(folder)))
    blip = make_blip(tmp_path / "blip")
    (blip / "model.safetensors").write_bytes(b"not weights")
    network = captioner(Captioning(provider="BLIP", model=str(blip)))[1]
    with pytest.raises(SpecInvalid, match=r"spec\.dataset\.captioning\.model"):
        network(PICTURES)
