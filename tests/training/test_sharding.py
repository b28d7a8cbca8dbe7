"""Two workers that divide gradients and moments learn what two learn that keep all of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from diptych_training.share import Share
from diptych_training.supported import ignored, refused
from support.bare_runs import Listener, in_workers, train
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow

SHARED: dict[str, Any] = {"sharding": "OptimizerAndGradients"}


def trained_by_two(share: Share, results: Path, *, go_on: bool = False) -> list[dict[str, torch.Tensor]]:
    """Train with two workers; return losses, gradient norms, weights and the sizes of the state of each."""
    results.mkdir()

    def work(rank: int) -> None:
        listener = Listener()
        loop = train(share, listener, go_on=go_on, rank=rank, world=2)
        rows = [row for progress in listener.told for row in progress.rows if row.loss is not None]
        told = {
            "losses": torch.tensor([row.loss for row in rows]),
            "norms": torch.tensor([row.grad_norm for row in rows]),
            "moments": torch.tensor(sum(state["exp_avg"].numel() for state in loop.optimizer.state.values())),
        }
        weights = {name: p.detach().clone() for name, p in loop.trainee.parameters.items()}
        save_file(told | weights, results / f"{rank}.safetensors")

    in_workers(2, results / "meeting", work)
    return [load_file(results / f"{rank}.safetensors") for rank in range(2)]


def weights_of(told: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in told.items() if name.startswith("unet.")}


@pytest.mark.parametrize("method", ["LoRA", "FullUNet"])
def test_a_share_each_is_bit_for_bit_what_whole_ones_give(tmp_path: Path, method: str) -> None:
    whole = trained_by_two(tiny_share(tmp_path, method=method, output={"uri": "whole"}), tmp_path / "1")
    parted = trained_by_two(tiny_share(tmp_path, method=method, training=SHARED), tmp_path / "2")
    for name, expected in weights_of(whole[0]).items():
        assert torch.equal(parted[0][name], expected)
        assert torch.equal(parted[1][name], expected)
    assert torch.equal(parted[0]["losses"], whole[0]["losses"])
    assert torch.equal(parted[0]["norms"], whole[0]["norms"])
    total = sum(weight.numel() for weight in weights_of(whole[0]).values())
    assert whole[0]["moments"] == total
    assert parted[0]["moments"] + parted[1]["moments"] == total
    assert abs(parted[0]["moments"] - parted[1]["moments"]) < 0.1 * total


def test_uneven_micro_batches_and_a_checkpoint_that_one_worker_goes_on_from(tmp_path: Path) -> None:
    """A batch of 5 in pieces of 2: one worker has one piece, the other two. Sums differ in their order alone."""
    uneven = {"batchSize": 5, "microBatchSize": 2, "steps": 3}
    parted = trained_by_two(tiny_share(tmp_path, training=uneven | SHARED), tmp_path / "2")
    longer = tiny_share(tmp_path, training=uneven | SHARED | {"steps": 6})
    resumed = train(longer, Listener(), go_on=True)
    alone = Listener()
    expected = train(tiny_share(tmp_path, training=uneven | {"steps": 6}, output={"uri": "one"}), alone)
    assert parted[0]["losses"].tolist() == pytest.approx([alone.losses()[step] for step in (1, 2, 3)], rel=1e-5)
    for name, weight in expected.trainee.parameters.items():
        torch.testing.assert_close(resumed.trainee.parameters[name], weight, rtol=1e-3, atol=1e-5)


def test_sharding_that_cannot_work_is_refused_and_that_changes_nothing_is_told(tmp_path: Path) -> None:
    spec = tiny_share(tmp_path, training=SHARED | {"batchSize": 1}, resources={"workers": 2}).spec
    assert list(refused(spec)) == ["spec.training.batchSize: sharding needs a sample for each of 2 workers."]
    alone = spec.model_copy(update={"resources": spec.resources.model_copy(update={"workers": 1})})
    assert list(refused(alone)) == []
    assert "spec.training.sharding has no effect with one worker." in ignored(alone)
