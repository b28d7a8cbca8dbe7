"""AdamW in 8 bits: it learns, resumes exactly, and is told from AdamW in a checkpoint."""

import sys
from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import CheckpointCorrupt
from support.bare_runs import Listener, same_weights, train
from support.tiny_jobs import tiny_share

pytestmark = [pytest.mark.slow, pytest.mark.eight_bits]

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
