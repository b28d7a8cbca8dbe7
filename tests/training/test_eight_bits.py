"""AdamW in 8 bits: it learns, resumes exactly, and is told from AdamW in a checkpoint. Captions by four bits."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2VLForConditionalGeneration

from diptych_api.dataset import Captioning
from diptych_api.errors import CheckpointCorrupt
from diptych_training.captioning import networks
from diptych_training.captioning.networks import Network
from support.bare_runs import Listener, same_weights, train
from support.seers import make_qwen2_vl, shown
from support.tiny_jobs import tiny_share

pytestmark = [pytest.mark.slow, pytest.mark.eight_bits]

PICTURES = (("a", 40, 40), ("bb", 56, 28))
EIGHT: dict[str, Any] = {"optimizer": {"name": "AdamW8bit"}, "learningRate": 1e-3}


def test_a_resumed_run_equals_an_undisturbed_one_and_has_moments_of_one_byte(tmp_path: Path) -> None:
    whole, part, rest = Listener(), Listener(stop_at=3), Listener()
    undisturbed = train(tiny_share(tmp_path / "a", method="FullUNet", training=EIGHT), whole)
    share = tiny_share(tmp_path / "b", method="FullUNet", training=EIGHT)
    assert train(share, part).step < 6
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert same_weights(undisturbed, resumed)
    moments = sum(state["state1"].nbytes for state in undisturbed.optimizer.state.values())
    assert moments < 0.3 * sum(p.nbytes for p in undisturbed.trainee.parameters.values())


def test_without_the_library_adamw_takes_its_place_and_does_not_go_on_from_the_others_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tiny_share(tmp_path, training=EIGHT)
    train(share, Listener())
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(CheckpointCorrupt, match="made with AdamW8bit, and AdamW is used here"):
        train(share, Listener(), go_on=True)
    plain, fallen_back = Listener(), Listener()
    train(tiny_share(tmp_path, output={"uri": "plain"}, training={"learningRate": 1e-3}), plain)
    train(tiny_share(tmp_path, output={"uri": "back"}, training=EIGHT), fallen_back)
    assert fallen_back.losses() == plain.losses()


def test_qwen2_vl_in_four_bits_describes_pictures_by_a_quarter_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of GPUs, on a CPU: bitsandbytes has the same layers for it."""
    made, load = [], networks._in_four_bits

    def in_four_bits(folder: Path, kind: Any, device: torch.device) -> Any:
        made.append(load(folder, kind, device))
        return made[-1]

    monkeypatch.setattr(networks, "_model", in_four_bits)
    write = Network.of(Captioning(provider="Qwen2VL", model=str(make_qwen2_vl(tmp_path, width=64)), max_new_tokens=8))
    pictures = [shown(*picture) for picture in PICTURES]
    together = write(pictures)
    assert together == [caption for picture in pictures for caption in write([picture])]
    assert all(isinstance(caption, str) for caption in together)
    (model,) = made
    assert {p.quant_type for p in model.parameters() if hasattr(p, "quant_type")} == {"nf4"}
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {torch.bfloat16}
    whole = Qwen2VLForConditionalGeneration.from_pretrained(tmp_path)
    layer = "model.language_model.layers.0.mlp.up_proj.weight"
    packed, full = dict(model.named_parameters())[layer], dict(whole.named_parameters())[layer]
    assert packed.numel() * packed.element_size() == full.numel() / 2, "two weights in a byte"
