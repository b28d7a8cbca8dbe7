"""`diptych eval` on a run that was trained, without Ray."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diptych_api.runstore import RUN_FILE, RunRecord
from diptych_training.finish import conclude
from support.bare_runs import Listener, train
from support.recorded_run import diptych
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; its cache and manifest are where a run has them."""
    root = tmp_path_factory.mktemp("eval")
    share = tiny_share(root, output={"uri": str(root / "runs")})
    train(share, Listener())
    conclude(share, "tiny", share.spec.base, lambda _: False)
    identity = share.identity
    record = RunRecord(
        name="tiny",
        run=share.store.name,
        spec=share.spec,
        base_digest=f"sha256:{identity['base']}",
        dataset_digest=f"sha256:{identity['data set']}",
        created=datetime.now(UTC),
    )
    share.store.write_json(RUN_FILE, record)
    folder = share.store.local()
    assert folder is not None
    (folder / "manifest").symlink_to(share.manifest_folder)
    (folder.parent / "cache").mkdir()
    (folder.parent / "cache" / "encoded").symlink_to(share.cache_folder)
    return folder


def test_another_suite_is_asked_and_the_same_one_is_not_drawn_twice(made: Path) -> None:
    ended = diptych("eval", made, "--set", "evaluation.suite=flowers")
    assert ended.exit_code == 0, ended.output
    assert "2 prompts" in ended.stdout
    assert f"next: open {made}/evaluation/report.html" in ended.stdout
    drawn = (made / "evaluation/base/000.png").stat().st_mtime_ns
    again = diptych("eval", made, "--set", "evaluation.suite=flowers", "--json")
    report = json.loads(again.stdout)
    assert (report["suite"], report["pairs"][0]["prompt"]) == ("flowers", "a sunflower")
    assert (made / "evaluation/base/000.png").stat().st_mtime_ns == drawn, "nothing changed, nothing is drawn"
    assert json.loads(diptych("eval", made, "--set", "evaluation.seed=5", "--json").stdout)["seed"] == 5


def test_a_run_is_promoted_afterwards_and_what_it_is_made_of_cannot_change(made: Path) -> None:
    ended = diptych("eval", made, "--set", "promotion.model=best")
    assert ended.exit_code == 0, ended.output
    assert "promoted to best. Against its base: ValidationLoss" in ended.stdout
    told = diptych("eval", made, "--set", "training.steps=7")
    assert told.exit_code == 2
    assert "Only spec.evaluation and spec.promotion may change" in told.stderr
