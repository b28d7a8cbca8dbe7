"""In a pod, volumes are folders; secrets are of the environment, and on one machine somebody has to put them there."""

from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.places import localized
from diptych_training.run_store import RunStore
from diptych_training.supported import ignored

CLAIM = {"pvc": {"claimName": "models", "path": "some/folder"}}
SECRET = {"name": "store", "key": "AWS_ACCESS_KEY_ID"}


def spec(**changes: Any) -> FineTuneJobSpec:
    fields = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}}
    return FineTuneJobSpec.model_validate(fields | changes)


def test_claims_become_folders_of_their_mounts(tmp_path: Path) -> None:
    given = spec(base=CLAIM, dataset={"source": CLAIM}, output=CLAIM)
    found = localized(given, tmp_path, {"models": tmp_path / "mnt"})
    there = str(tmp_path / "mnt" / "some" / "folder")
    assert (found.base.uri, found.dataset.source.uri, found.output.uri) == (there, there, there)
    assert RunStore.open(found.output, "team", "run", tmp_path).local() == Path(there) / "team" / "run"
    assert given.base.pvc is not None, "the spec as written goes into run.json"


@pytest.mark.parametrize("field", ["base", "dataset.source", "output"])
def test_a_claim_that_is_not_mounted_is_named_with_its_field(field: str, tmp_path: Path) -> None:
    given = {"base": spec(base=CLAIM), "output": spec(output=CLAIM), "dataset.source": spec(dataset={"source": CLAIM})}
    with pytest.raises(UnsupportedHere, match=rf"spec\.{field}\.pvc: the volume 'models' is not mounted"):
        localized(given[field], tmp_path, {})


def test_a_folder_outside_of_its_volume_is_refused(tmp_path: Path) -> None:
    outside = {"pvc": {"claimName": "models", "path": "../etc"}}
    with pytest.raises(UnsupportedHere, match="leaves the volume"):
        localized(spec(output=outside), tmp_path, {"models": tmp_path / "mnt"})


def test_credentials_leave_the_spec_in_a_pod_and_must_be_set_on_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spec(output={"uri": "runs", "credentials": SECRET}, dataset={"source": {"uri": "p", "credentials": SECRET}})
    in_pod, here = localized(given, tmp_path, {}), localized(given, tmp_path)
    assert (in_pod.output.credentials, in_pod.dataset.source.credentials) == (None, None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(UnsupportedHere, match=r"spec\.output\.credentials: .* AWS_ACCESS_KEY_ID is not set.*export"):
        RunStore.open(here.output, "local", "run", tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    assert RunStore.open(here.output, "local", "run", tmp_path).local() == tmp_path / "runs" / "local" / "run"


def test_tokens_of_the_hub_have_one_variable_each_in_every_pod(tmp_path: Path) -> None:
    repository = {"repo": "owner/name", "revision": "0" * 40, "token": {"name": "hub", "key": "token"}}
    given = spec(base={"huggingFace": repository}, dataset={"source": {"huggingFace": repository}})
    found = localized(given, tmp_path, {})
    assert found.base.hugging_face is not None
    assert found.base.hugging_face.token is not None
    assert found.base.hugging_face.token.key == "HF_TOKEN"
    assert found.dataset.source.hugging_face is not None
    assert found.dataset.source.hugging_face.token is not None
    assert found.dataset.source.hugging_face.token.key == "DIPTYCH_DATASET_TOKEN"


def test_relative_paths_start_at_the_folder_and_remote_ones_stay(tmp_path: Path) -> None:
    found = localized(spec(base={"uri": "s3://models/sd"}), tmp_path)
    assert found.dataset.source.uri == str(tmp_path / "pictures")
    assert found.base.uri == "s3://models/sd"


def test_a_pod_says_nothing_of_settings_that_its_operator_honours() -> None:
    given = spec(suspend=False, ttlSecondsAfterFinished=5, resources={"pods": {}}, promotion={"model": "noto"})
    assert len(ignored(given)) == 3
    assert ignored(given, in_pod=True) == []


def test_fewer_workers_are_said_to_be_in_vain_on_one_machine_only() -> None:
    given = spec(resources={"workers": 2, "minWorkers": 1, "pods": {}})
    one, cluster = ignored(given), ignored(given, on_cluster=True)
    assert "spec.resources.minWorkers has no effect on one machine." in one
    assert cluster == ["spec.resources.pods has no effect outside Kubernetes."]


def test_relative_paths_of_a_pod_start_at_the_workspace_and_examples_may_come_with_the_image(tmp_path: Path) -> None:
    workspace, image = tmp_path / "workspace", tmp_path / "image"
    (workspace / "pictures").mkdir(parents=True)
    given = spec(evaluation={"rivals": "examples/rivals"}, output={"uri": "runs"})
    found = localized(given, image, {"diptych-workspace": workspace})
    assert found.dataset.source.uri == str(workspace / "pictures")
    assert found.evaluation.rivals == str(image / "examples" / "rivals")
    assert found.output.uri == str(workspace / "runs")
