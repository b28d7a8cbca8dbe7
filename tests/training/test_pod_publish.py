"""`python -m diptych_training --publish FILE`: what its pod says with its last word, and with which exit code."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from diptych_api.after import Tracking
from diptych_api.artifact import ArtifactRecord, BaseRecord, FileRecord
from diptych_api.publication import LONGEST, LastWord
from diptych_api.report import Failure
from diptych_api.sources import Output
from diptych_training.pod_publish import fitted, publish_run
from diptych_training.run_store import RunStore
from support.registry import TOKEN, OciRegistry, oci_registry
from support.tracking import ARTIFACT, MemoryPlace, past_run, report

WEIGHTS = b"peft weights"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder with the run of a job that has succeeded."""
    store, _ = past_run(tmp_path, uri="unused")
    store.remove("artifact")
    store.write_bytes("artifact/peft/adapter_model.safetensors", WEIGHTS)
    record = ArtifactRecord(
        name="noto",
        run=store.name,
        method="LoRA",
        base=BaseRecord(source="builtin:tiny-emoji", digest=f"sha256:{'b' * 64}"),
        trainable_parameters=8,
        step=5,
        dataset_digest=f"sha256:{'c' * 64}",
        formats=["PEFT"],
        files={
            "peft/adapter_model.safetensors": FileRecord(sha256=hashlib.sha256(WEIGHTS).hexdigest(), bytes=len(WEIGHTS))
        },
        created=datetime(2026, 1, 31, tzinfo=UTC),
    )
    store.write_json("artifact/artifact.json", record)
    return tmp_path


def publishes(
    root: Path, environ: dict[str, str] | None = None, tracking: Mapping[str, Any] | None = None, **publish: Any
) -> tuple[int, LastWord]:
    """Publish as the pod does; return its exit code and its last word."""
    spec = {
        "base": {"builtin": "tiny-emoji"},
        "dataset": {"source": {"uri": "/pictures"}},
        "output": {"uri": str(root / "runs")},
        "promotion": {"model": "best"},
        "publish": publish,
        "tracking": tracking,
    }
    metadata = {"name": "noto", "namespace": "local", "uid": "x"}
    head = {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata}
    job, word = root / "job.yaml", root / "word"
    job.write_text(yaml.safe_dump(head | {"spec": spec}))
    word.touch()
    told = {"DIPTYCH_MOUNTS": "{}", "DIPTYCH_RUN": "noto-12345678"} | (environ or {})
    code = publish_run(job, told, word)
    return code, LastWord.model_validate_json(word.read_text())


@pytest.fixture
def registry() -> Any:
    with oci_registry() as registry:
        yield registry


def test_what_was_published_is_the_last_word_whether_it_was_sent_now_or_before(
    root: Path, registry: OciRegistry
) -> None:
    place = f"oci://{registry.host}/me/noto:v1"
    to: dict[str, Any] = {"uri": place, "token": {"name": "registry", "key": "password"}}
    code, word = publishes(root, {"DIPTYCH_PUBLISH_TOKEN": TOKEN}, **to)
    digest = hashlib.sha256(registry.manifests["v1"]).hexdigest()
    assert (code, word.published, word.failure) == (0, [f"{place}@sha256:{digest}"], None)
    assert registry.files("v1")["peft/adapter_model.safetensors"] == WEIGHTS
    code, word = publishes(root, {"DIPTYCH_PUBLISH_TOKEN": TOKEN}, **to)
    assert (code, word.published) == (0, [place])
    assert "already" in word.message


def test_a_dry_run_says_what_it_would_send(root: Path, tmp_path: Path) -> None:
    code, word = publishes(root, uri=str(tmp_path / "public"), dryRun=True)
    assert (code, word.published) == (0, [])
    assert word.message.startswith("Would send 5 files")
    assert not (tmp_path / "public").exists()


def test_mlflow_calls_what_was_published_champion_and_keeps_nothing_from_being_published(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.open(Output(uri="runs"), "local", "noto-12345678", root)
    store.write_json("status.json", report("Succeeded", artifact=ARTIFACT))
    mlflow, asked = MemoryPlace(), list[str]()

    def place_of(tracking: Tracking, environ: Mapping[str, str]) -> MemoryPlace:
        asked.append(environ[tracking.token.key] if tracking.token else "")
        return mlflow

    monkeypatch.setattr("diptych_training.tracking.place.place_of", place_of)
    told = {"uri": "http://mlflow", "token": {"name": "mlflow", "key": "password"}}
    environ = {"MLFLOW_TRACKING_TOKEN": "secret"}
    code, word = publishes(root, environ, tracking=told, uri=str(root / "public"))
    assert (code, word.message.endswith("http://mlflow calls it champion.")) == (0, True)
    assert (asked, mlflow.aliases) == (["secret"], {"noto@champion": "1"})
    store.remove("tracking.json")
    mlflow.calls = 0
    code, word = publishes(root, environ, tracking=told, uri=str(root / "public"))
    assert (code, word.published) == (0, [str(root / "public")])
    assert "MLflow was not told of the promotion: nobody answers" in word.message


def test_a_refusal_is_final_and_an_outage_is_not(root: Path, registry: OciRegistry) -> None:
    to: dict[str, Any] = {"uri": f"oci://{registry.host}/me/noto:v1", "token": {"name": "registry", "key": "password"}}
    code, word = publishes(root, {"DIPTYCH_PUBLISH_TOKEN": "wrong"}, **to)
    assert (code, word.failure.reason if word.failure else "") == (2, "HubAuth")
    code, word = publishes(root, uri="oci://127.0.0.1:1/me/noto:v1")
    assert (code, word.failure.reason if word.failure else "") == (75, "RetryLater")


def test_a_run_without_an_artifact_is_told(tmp_path: Path) -> None:
    code, word = publishes(tmp_path, uri=str(tmp_path / "public"))
    assert (code, word.published) == (2, [])
    assert word.failure is not None
    assert "no artifact" in word.failure.message


def test_a_word_is_never_longer_than_what_kubernetes_keeps() -> None:
    long = "é" * 1024
    words = [
        LastWord(failure=Failure(reason="HubAuth", message=long * 2, hint=long)),
        LastWord(published=[f"s3://{i}/{'é' * 1000}" for i in range(4)], message=long),
    ]
    for word in words:
        assert len(fitted(word).encode()) <= LONGEST
        assert LastWord.model_validate_json(fitted(word)) != LastWord()


def test_from_a_shell_it_says_the_same_on_stdout(root: Path) -> None:
    publishes(root, uri=str(root / "public"))
    command = [sys.executable, "-m", "diptych_training", "--publish", str(root / "job.yaml")]
    done = subprocess.run(command, env={**os.environ, "DIPTYCH_RUN": "noto-12345678"}, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["published"] == [str(root / "public")]
