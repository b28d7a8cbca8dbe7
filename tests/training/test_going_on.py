"""A job that goes on from an adapter begins where that adapter was, and is compared with the base without it."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from diptych_api.errors import CheckpointCorrupt
from diptych_api.finetunejob import FineTuneJob
from diptych_api.resource import ObjectMeta
from diptych_training.bringing import brought
from diptych_training.phases import Run, name_first_adapter
from diptych_training.reporter import Reporter
from diptych_training.share import Share
from support.bare_runs import Listener, finish, train
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow

PLAIN = {"ema": {"enabled": False}}


def as_run(share: Share) -> Run:
    """Return the share as the phases of a run see it."""
    job = FineTuneJob(metadata=ObjectMeta(name="tiny"), spec=share.spec)
    return Run(job, share.spec, share.spec, share.store, cast("Reporter", None), threading.Event())


@pytest.mark.parametrize("form", ["", "peft", "diffusers/pytorch_lora_weights.safetensors", "kohya/tiny.safetensors"])
def test_the_first_loss_is_the_last_of_the_run_before(tmp_path: Path, form: str) -> None:
    before, after = Listener(), Listener()
    share = tiny_share(tmp_path, training=PLAIN, output={"uri": "first"})
    train(share, before)
    folder, _ = finish(share)
    place = str(folder / "artifact" / form)
    wanted = tiny_share(tmp_path, training=PLAIN, lora={"rank": 3, "alpha": 1, "initFrom": place})
    digests: dict[str, str] = {}
    name_first_adapter(as_run(wanted), digests)
    second = brought(replace(wanted, identity={**wanted.identity, **digests}))
    train(second, after)
    assert after.validations()[0] == pytest.approx(before.validations()[6], rel=1e-4)
    assert after.validations()[6] != after.validations()[0]
    where, _ = finish(second)
    metrics = json.loads((where / "evaluation/report.json").read_text())["metrics"]
    loss = next(metric for metric in metrics if metric["name"] == "ValidationLoss")
    assert loss["base"] == pytest.approx(before.validations()[0], rel=1e-4)
    record = json.loads((where / "artifact/artifact.json").read_text())
    assert record["firstValidationLoss"] == pytest.approx(after.validations()[0], rel=1e-6)


def test_another_adapter_under_the_same_name_does_not_go_on_from_the_old_checkpoint(tmp_path: Path) -> None:
    share = tiny_share(tmp_path)
    train(replace(share, identity={**share.identity, "first adapter": "one"}), Listener())
    other = replace(share, identity={**share.identity, "first adapter": "another"})
    with pytest.raises(CheckpointCorrupt, match="another first adapter"):
        train(other, Listener(), go_on=True)
