"""Attention, checkpointing and memory format change how a step is computed, not what comes of it."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych_api.errors import UnsupportedHere
from diptych_training.building import build_loop
from diptych_training.equipment import check_equipped
from diptych_training.optim import optimizer_tensors, restore_optimizer
from support.bare_runs import CPU, Listener
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acceleration")


def losses(folder: Path, **training: Any) -> list[float]:
    """Return the losses and gradient norms of two steps, dropout included."""
    share = tiny_share(folder, lora={"dropout": 0.1}, training={"steps": 2} | training)
    listener = Listener()
    loop = build_loop(share, CPU, listener)
    loop.report_every_s, loop.held_out = 0, []
    loop.run()
    rows = [row for progress in listener.told for row in progress.rows]
    return [figure for row in rows for figure in (row.loss, row.grad_norm) if figure is not None]


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[float]:
    return losses(folder)


@pytest.mark.parametrize(
    "training",
    [
        pytest.param({"attention": "sdpa"}, id="sdpa"),
        pytest.param({"attention": "sliced"}, id="sliced"),
        pytest.param({"gradientCheckpointing": True}, id="checkpointing"),
        pytest.param({"channelsLast": True}, id="channels last"),
    ],
)
def test_losses_and_gradients_stay_what_they_are(folder: Path, plain: list[float], training: dict[str, Any]) -> None:
    assert losses(folder, **training) == pytest.approx(plain, rel=1e-4)


def test_a_missing_library_or_compiler_is_named_before_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xformers", None)
    monkeypatch.setenv("CXX", "/nowhere/g++")
    spec = tiny_share(folder, training={"attention": "xformers", "compile": "Whole"}).spec
    with pytest.raises(UnsupportedHere) as refused:
        check_equipped(spec)
    assert "xformers is not installed" in refused.value.message
    assert "needs a C++ compiler" in refused.value.message


def test_moments_come_back_in_the_memory_format_of_their_weights(folder: Path) -> None:
    share = tiny_share(folder, method="FullUNet", training={"steps": 1, "channelsLast": True})
    loop = build_loop(share, CPU, Listener())
    loop.held_out = []
    loop.run()
    again = build_loop(share, CPU, Listener())
    saved = optimizer_tensors(loop.optimizer, loop.trainee.parameters)
    restore_optimizer(
        again.optimizer, again.trainee.parameters, {name: value.contiguous() for name, value in saved.items()}
    )
    states = [(p, again.optimizer.state[p]["exp_avg"]) for p in again.trainee.parameters.values()]
    assert any(not p.is_contiguous() for p, _ in states)
    for (parameter, moment), before in zip(states, loop.trainee.parameters.values(), strict=True):
        assert moment.stride() == parameter.stride()
        assert torch.equal(moment, loop.optimizer.state[before]["exp_avg"])


def test_the_layers_of_an_adapter_are_fused_unless_they_are_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fused(**training: Any) -> int:
        unet = build_loop(tiny_share(folder, training=training), CPU, Listener()).trainee.unet
        return sum("forward" in vars(module) for module in unet.modules())

    assert fused() > 0
    monkeypatch.setattr("diptych_training.trainee.accelerate", lambda _unet, _spec: None)
    assert fused(compile="Regional") == 0
