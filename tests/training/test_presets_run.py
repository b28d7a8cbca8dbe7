"""Every preset runs, shrunk to a tiny base and two steps."""

from pathlib import Path
from typing import Any

import pytest

from diptych_api.presets import PRESETS
from support.bare_runs import Listener, finish, train
from support.tiny_jobs import tiny_share
from support.trained_models import NEW_UNET

pytestmark = pytest.mark.slow

PICTURES = {"layout": "ImageFolder", "imageColumn": "file_name", "captionColumn": "text", "image": {"size": 64}}
SHRUNK: dict[str, Any] = {"learningRate": None, "captionDropout": None, "validation": {"everySteps": 2, "draws": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("presets")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_learns_and_leaves_its_artifact(folder: Path, preset: str) -> None:
    own = {"unet": NEW_UNET} if preset == "flowers-scratch" else {}
    training = SHRUNK | {"steps": 2, "batchSize": 4, "microBatchSize": None, "earlyStopping": {"enabled": False}}
    share = tiny_share(
        folder,
        preset=preset,
        lora=None,
        dataset=PICTURES,
        training=training,
        evaluation={"maxPrompts": 1, "inferenceSteps": None},
        output={"uri": preset},
        **own,
    )
    listener = Listener()
    train(share, listener)
    assert sorted(listener.losses()) == [1, 2]
    where, artifact = finish(share)
    assert artifact.trainable_parameters > 0
    assert (where / "evaluation/report.json").is_file()
