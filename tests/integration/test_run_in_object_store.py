"""A run whose base, pictures and run store are in an object store, killed and finished on another machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from cluster.object_server import Bucket
from diptych_cli.main import app
from support.bare_runs import undisturbed
from support.real_runs import checkpoint_hashes, losses, run_folder, started, write_job
from support.tiny_jobs import merged, tiny_share

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
STEPS = 24
OURS: dict[str, Any] = {
    "training": {
        "steps": STEPS,
        "checkpoint": {"everySteps": 4, "keep": 2},
        "validation": {"everySteps": 12, "draws": 1},
    },
    "evaluation": {"enabled": False},
}


def uploaded(folder: Path, bucket: Bucket) -> None:
    """Put base and pictures into the bucket, as anybody would."""
    from diptych_diffusion.object_store import file_system  # noqa: PLC0415 -- after the server's address is known

    store, root = file_system(bucket.uri)
    for name in ("base", "pictures"):
        for path in (folder / name).rglob("*"):
            if path.is_file():
                store.put_file(str(path), f"{root}/{path.relative_to(folder).as_posix()}")


def test_a_killed_run_goes_on_elsewhere_and_ends_like_the_undisturbed_one(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = undisturbed(tiny_share(tmp_path, **OURS))
    torch.set_num_threads(threads)
    uploaded(tmp_path, bucket)
    spec = {"base": {"uri": f"{bucket.uri}/base"}, "dataset": {"source": {"uri": f"{bucket.uri}/pictures"}}}
    job = json.loads(tiny_share(tmp_path, **OURS).spec.model_dump_json(by_alias=True, exclude_unset=True))
    write_job(tmp_path, merged(job, spec | {"output": {"uri": f"{bucket.uri}/runs"}}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    with started(tmp_path) as run:
        run.until_trained(10)
        run.kill_all()
    encoded = sorted((bucket.folder / "runs/local/cache/encoded").iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    with started(tmp_path) as run:
        code, report = run.finish()
    assert code == 0, (tmp_path / "stderr.txt").read_text()
    assert report is not None
    assert report.phase == "Succeeded"
    assert (losses(bucket.folder), checkpoint_hashes(run_folder(bucket.folder))) == expected
    assert sorted((bucket.folder / "runs/local/cache/encoded").iterdir()) == encoded, "nothing was encoded twice"
    uri = f"{bucket.uri}/runs/local/{run_folder(bucket.folder).name}"
    people_find_it_by_its_uri(uri, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))
    it_is_evaluated_by_itself_on_a_machine_that_has_nothing(uri, bucket)
    assert sorted((bucket.folder / "runs/local/cache/encoded").iterdir()) == encoded, "nor for its evaluation"


def it_is_evaluated_by_itself_on_a_machine_that_has_nothing(uri: str, bucket: Bucket) -> None:
    wanted = ("--set", "evaluation.enabled=true", "--set", "evaluation.prompts=[red apple]")
    told = CliRunner().invoke(app, ["eval", uri, *wanted, "--json"])
    assert told.exit_code == 0, told.output
    assert [pair["prompt"] for pair in json.loads(told.stdout)["pairs"]] == ["red apple"]
    folder = run_folder(bucket.folder) / "evaluation"
    assert (folder / "tuned/000.png").is_file()
    assert "red apple" in (folder / "report.html").read_text()


def people_find_it_by_its_uri(uri: str, folder: Path) -> None:
    told = CliRunner().invoke(app, ["status", uri, "--json"])
    assert json.loads(told.stdout)["report"]["phase"] == "Succeeded", told.output
    listed = CliRunner().invoke(app, ["status", "--output", uri.rpartition("/local/")[0], "--json"])
    assert [run["folder"] for run in json.loads(listed.stdout)["runs"]] == [uri]
    assert f"step{STEPS:>7}" in CliRunner().invoke(app, ["logs", uri]).stdout
    exported = CliRunner().invoke(app, ["export", uri, "--format", "kohya", "-o", str(folder / "out.safetensors")])
    assert exported.exit_code == 0, exported.output
    assert (folder / "out.safetensors").stat().st_size > 0
