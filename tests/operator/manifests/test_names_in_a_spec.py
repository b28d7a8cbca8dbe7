"""Names that Kubernetes would refuse when a pod is made are refused when the job is planned."""

from typing import Any

import pytest

from diptych_api.cluster import Pods
from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.manifests.spec_names import check_pods
from support.job_story import job_values

SECRET = {"name": "hf", "key": "token"}


def volume(mount: str, **claim: str) -> dict[str, Any]:
    return {"claim": {"claimName": "data", **claim}, "mountPath": mount}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": "an image"}, "pods.image"),
    ({"imagePullSecrets": ["ok", "Not_ok"]}, "pods.imagePullSecrets[1]"),
    ({"serviceAccountName": "me/you"}, "pods.serviceAccountName"),
    ({"priorityClassName": "-"}, "pods.priorityClassName"),
    ({"nodeSelector": {"a b": "x"}}, "'a b' is no key of a label"),
    ({"nodeSelector": {"a": "x y"}}, "'x y' is no value of a label"),
    ({"gpuType": "NVIDIA L4"}, "pods.gpuType"),
    ({"tolerations": [{"operator": "Equal"}]}, "without a key, operator must be Exists"),
    ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "leave value out"),
    ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "needs effect NoExecute"),
    ({"env": [{"name": "DIPTYCH_ATTEMPT", "valueFrom": SECRET}]}, "DIPTYCH_ATTEMPT is set by Diptych"),
    ({"env": [{"name": "PYTHONPATH", "valueFrom": SECRET}]}, "PYTHONPATH is set by"),
    ({"env": [{"name": "A", "valueFrom": {"name": "hf", "key": "a/b"}}]}, "pods.env[0].valueFrom.key"),
    ({"volumes": [volume("/")]}, "/ is needed by the pod"),
    ({"volumes": [volume("/var")]}, "/var is needed by the pod"),
    ({"volumes": [volume("/mnt/claims/store")]}, "/mnt/claims/store is needed by the pod"),
    ({"volumes": [volume("/data"), volume("/data/")]}, "/data is used twice"),
    ({"volumes": [volume("/data", path="../up")]}, "must be a folder inside the volume"),
    ({"volumes": [volume("/data", claimName="Data")]}, "pods.volumes[0].claim.claimName"),
]


@pytest.mark.parametrize(("pods", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_no_pod_can_have_is_refused_with_its_place(pods: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalid) as refused:
        check_pods(Pods.model_validate(pods))
    assert words in refused.value.message


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SpecInvalid) as refused:
        check_pods(Pods(image="a b", gpu_type="c d"))
    assert refused.value.message.count("pods.") == 2


JOBS: list[tuple[dict[str, Any], str]] = [
    ({"output": {"uri": "../runs"}}, "'../runs' is no folder of the workspace"),
    ({"output": {"uri": "~/runs"}}, "'~/runs' is no folder of the workspace"),
    ({"output": {"uri": "file:///data/runs"}}, "below no writable mount"),
    ({"output": {"pvc": {"claimName": "Store"}}}, "output.pvc.claimName"),
    ({"output": {"uri": "s3://b/r", "credentials": {"name": "s3", "key": "1"}}}, "output.credentials.key: '1'"),
    ({"output": {"uri": "s3://b/r", "credentials": {"name": "s3", "key": "path"}}}, "output.credentials.key: 'path'"),
    ({"tracking": {"uri": "http://mlflow", "token": {"name": "a b", "key": "k"}}}, "tracking.token.name"),
    ({"evaluation": {"prompts": ["x" * 2000] * 256}}, "a pod can be told 150,000"),
]


@pytest.mark.parametrize(("spec", "words"), JOBS, ids=[words for _, words in JOBS])
def test_a_job_that_cannot_become_pods_says_why(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalid) as refused:
        ray_job(from_wire(FineTuneJob, job_values(**spec)), 1, Defaults(image="image:1"))
    assert words in refused.value.message
    assert refused.value.hint


def test_an_output_below_a_writable_volume_is_taken() -> None:
    pods = {"volumes": [{"claim": {"claimName": "data"}, "mountPath": "/data", "readOnly": False}]}
    job = job_values(output={"uri": "file:///data/runs"}, resources={"pods": pods})
    assert ray_job(from_wire(FineTuneJob, job), 1, Defaults(image="image:1"))
