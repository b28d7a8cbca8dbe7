"""Every example of a layout or method, two steps of it on the base that ships, without Ray; those that must fail."""

from pathlib import Path

import pytest

from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.yaml_reader import read_resource
from diptych_diffusion.base_files import resolve_base
from diptych_training.building import build_loop
from diptych_training.cache import prepare_cache
from diptych_training.data.manifest import prepare, write
from diptych_training.places import localized
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from support.bare_runs import CPU, Listener
from support.recorded_run import diptych

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for kind in ("layouts", "methods") for path in (ROOT / "examples" / kind).glob("*.yaml"))
FAILURES = sorted((ROOT / "examples/failures").glob("*.yaml"))
SHORT = ["training.steps=2", "training.batchSize=2", "training.validation.draws=1"]
UNUSABLE = {"flickr30k": 1, "raw": 1}
UNSEEN = {"raw": 4}
"""What validate counts, because it opens no picture, and a run leaves out."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is encoded: the examples have pictures in common."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_trains(
    path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    validated = diptych("validate", path)
    assert validated.exit_code == 0, validated.stderr
    job = read_resource(path, SHORT)
    assert isinstance(job, FineTuneJob)
    spec = localized(resolve(job.spec), ROOT)
    manifest = prepare(spec.dataset, tmp_path / "work", lambda _done, _total: None)
    write(manifest, tmp_path / "manifest")
    used, held = len(manifest.train) + len(manifest.held_out), len(manifest.held_out)
    assert f" {used + UNSEEN.get(path.stem, 0)} pictures · " in validated.stdout
    assert f" · {held} held out" in validated.stdout
    base = resolve_base(spec.base, tmp_path)
    prepare_cache(base, manifest, spec.dataset, cache, text=True)
    store = RunStore.open(spec.output, "local", path.stem, tmp_path)
    share, listener = Share(spec, base, tmp_path / "manifest", cache, store, {}), Listener()
    loop = build_loop(share, CPU, listener)
    assert loop.run()
    losses = [row.loss for progress in listener.told for row in progress.rows if row.loss is not None]
    assert len(losses) == 2
    assert len(manifest.rejected) == UNUSABLE.get(path.stem, 0)


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: path.stem)
def test_a_failure_has_the_reason_that_its_file_begins_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    reason = path.read_text().removeprefix("# ").partition(":")[0]
    refused = diptych("validate", "--deep", "--json", path)
    assert refused.exit_code == 2
    assert reason in refused.stdout + refused.stderr
