"""What stands in the RayJob of a job, in its NetworkPolicy and in the accounts of its namespace."""

import json
from typing import Any

import pytest

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import JOB_ANNOTATION
from diptych_api.runstore import run_name
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.job_policy import job_policy
from diptych_operator.manifests.job_volumes import run_place
from diptych_operator.manifests.rayjob import ray_job
from support.job_story import job_values

DEFAULTS = Defaults(image="image:1", kuberay_namespace="rays")


def stored(**spec: Any) -> FineTuneJob:
    return from_wire(FineTuneJob, job_values(**spec))


def cluster(job: FineTuneJob) -> Manifest:
    found: Manifest = ray_job(job, 2, DEFAULTS)["spec"]["rayClusterSpec"]
    return found


def head(job: FineTuneJob) -> Manifest:
    found: Manifest = cluster(job)["headGroupSpec"]["template"]
    return found


def worker(job: FineTuneJob) -> Manifest:
    found: Manifest = cluster(job)["workerGroupSpecs"][0]["template"]
    return found


def variables(template: Manifest) -> dict[str, Any]:
    env = template["spec"]["containers"][0]["env"]
    return {each["name"]: each.get("value", each.get("valueFrom", {}).get("secretKeyRef")) for each in env}


def test_the_program_reads_the_job_with_its_preset_resolved_and_the_same_run() -> None:
    job = stored(preset="lora-r4", suspend=True, maxGpuSeconds=9)
    told = from_wire(FineTuneJob, json.loads(head(job)["metadata"]["annotations"][JOB_ANNOTATION]))
    assert (told.metadata.uid, told.metadata.namespace, told.spec.lora.rank) == ("job-uid", "art", 4)
    assert run_name("noto", told.spec) == run_name("noto", job.spec) == variables(head(job))["DIPTYCH_RUN"]
    assert (told.spec.suspend, told.spec.max_gpu_seconds) == (False, None)


def test_a_new_default_image_changes_neither_the_run_nor_what_the_program_reads() -> None:
    newer = ray_job(stored(), 2, Defaults(image="image:2"))["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    assert newer["metadata"] == head(stored())["metadata"]
    assert newer["spec"]["containers"][0]["image"] == "image:2"


def test_workers_get_the_gpus_and_their_nodes_and_the_head_gets_neither() -> None:
    job = stored(resources={"gpusPerWorker": 2, "pods": {"gpuType": "L4", "nodeSelector": {"disk": "ssd"}}})
    limits = worker(job)["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "8Gi", "nvidia.com/gpu": "2"}
    assert worker(job)["spec"]["nodeSelector"] == {"disk": "ssd", "nvidia.com/gpu.product": "L4"}
    assert head(job)["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert cluster(job)["workerGroupSpecs"][0]["rayStartParams"] == {"num-gpus": "2"}


def test_every_pod_asks_its_trainers_to_stop_within_its_grace_period() -> None:
    job = stored(resources={"pods": {"terminationGracePeriodSeconds": 900}})
    for template in (head(job), worker(job)):
        stop = template["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert stop == ["python", "-m", "diptych_training", "--stop", "--timeout", "900"]
        assert template["spec"]["terminationGracePeriodSeconds"] == 900
    assert variables(head(job))["RAY_JOB_STOP_WAIT_TIME_S"] == "900"


def test_claims_are_mounted_where_the_program_is_told_and_only_the_output_may_be_written() -> None:
    job = stored(output={"pvc": {"claimName": "store"}}, dataset={"source": {"pvc": {"claimName": "pictures"}}})
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in mounts_of(worker(job))}
    told = json.loads(variables(head(job))["DIPTYCH_MOUNTS"])
    assert told == {"store": "/mnt/claims/store", "pictures": "/mnt/claims/pictures"}
    assert {mounts[told["store"]], not mounts[told["pictures"]]} == {False}


def test_a_head_may_use_idle_cpu_and_no_more_memory_than_it_asked_for() -> None:
    resources = head(stored())["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}


def test_relative_paths_are_of_the_workspace_which_is_written_for_the_output_alone() -> None:
    relative = {"source": {"uri": "examples/noto"}}
    for output, read_only in (({"uri": "runs"}, False), ({"uri": "s3://bucket/runs"}, True)):
        job = stored(dataset=relative, output=output)
        (mount,) = [each for each in mounts_of(worker(job)) if each["mountPath"] == "/mnt/claims/diptych-workspace"]
        assert mount.get("readOnly", False) is read_only
    assert run_place(stored(output={"uri": "runs"})).startswith("/mnt/claims/diptych-workspace/runs/")


def mounts_of(template: Manifest) -> list[Manifest]:
    found: list[Manifest] = template["spec"]["containers"][0]["volumeMounts"]
    return found


def test_one_claim_for_everything_is_mounted_once_and_may_be_written() -> None:
    claim = {"claimName": "store"}
    job = stored(output={"pvc": claim}, dataset={"source": {"pvc": claim}}, base={"pvc": claim})
    (mount,) = [mount for mount in mounts_of(worker(job)) if mount["mountPath"] == "/mnt/claims/store"]
    assert "readOnly" not in mount


def test_each_secret_fills_its_variable_by_reference() -> None:
    secret = {"name": "keys", "key": "one"}
    hub = {"repo": "a/b", "revision": "0" * 40, "token": secret}
    job = stored(
        base={"huggingFace": hub},
        dataset={
            "source": {"huggingFace": hub | {"token": {"name": "keys", "key": "two"}}},
            "captioning": {"apiKey": secret},
        },
        tracking={"uri": "http://mlflow:5000", "token": secret},
        publish={"huggingFaceRepo": "a/c", "token": secret},
        output={"uri": "s3://b/r", "credentials": {"name": "s3", "key": "aws-secret-access-key"}},
        resources={"pods": {"env": [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"name": "s3", "key": "id"}}]}},
    )
    found = variables(worker(job))
    named = ("HF_TOKEN", "OPENAI_API_KEY", "MLFLOW_TRACKING_TOKEN", "DIPTYCH_PUBLISH_TOKEN")
    assert [found[name] for name in named] == [secret] * 4
    assert found["DIPTYCH_DATASET_TOKEN"] == {"name": "keys", "key": "two"}
    assert found["AWS_SECRET_ACCESS_KEY"] == {"name": "s3", "key": "aws-secret-access-key"}
    assert found["AWS_ACCESS_KEY_ID"] == {"name": "s3", "key": "id"}
    assert variables(head(job)).items() >= found.items()


def test_a_stores_secret_without_a_key_fills_what_stores_read_as_far_as_it_has_it() -> None:
    job = stored(output={"uri": "s3://b/r", "credentials": {"name": "minio"}})
    found = variables(worker(job))
    assert variables(head(job)).items() >= found.items()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        assert found[name] == {"name": "minio", "key": name, "optional": True}


def test_one_variable_from_two_secrets_is_refused() -> None:
    credentials = {"name": "s3", "key": "AWS_KEY"}
    job = stored(
        output={"uri": "s3://b/r", "credentials": credentials},
        dataset={"source": {"uri": "s3://b/p", "credentials": credentials | {"name": "other"}}},
    )
    with pytest.raises(SpecInvalid, match="AWS_KEY is filled from two places"):
        ray_job(job, 1, DEFAULTS)


def test_the_policy_lets_kuberay_in_to_the_dashboard_alone_and_pods_of_the_job_to_each_other() -> None:
    spec = job_policy(stored(), DEFAULTS)["spec"]
    own, kuberay = spec["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": {"diptych.dev/job": "noto"}}}]}
    assert kuberay["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "rays"}}}]
    assert kuberay["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_the_policy_lets_pods_out_to_what_the_spec_names_and_never_to_the_nodes_credentials() -> None:
    pictures = {"source": {"uri": "s3://[bad"}, "publishTo": "http://x/y"}
    job = stored(tracking={"uri": "http://mlflow:5000"}, dataset=pictures)
    dns, own, out = job_policy(job, DEFAULTS)["spec"]["egress"]
    assert [port["port"] for port in out["ports"]] == [80, 443, 5000, 6443]
    assert out["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}
    assert out["to"][1]["ipBlock"] == {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}
    assert [port["protocol"] for port in dns["ports"]] == ["UDP", "TCP"]
    assert own == {"to": [{"podSelector": {"matchLabels": {"diptych.dev/job": "noto"}}}]}


def test_the_reporter_may_write_reports_and_read_models_and_nobody_gets_a_token_unasked() -> None:
    reporter, pod, role, binding = accounts("art")
    assert [account["automountServiceAccountToken"] for account in (reporter, pod)] == [False, False]
    assert role["rules"] == [
        {"apiGroups": ["diptych.dev"], "resources": ["finetunereports"], "verbs": ["create", "get", "patch"]},
        {"apiGroups": ["diptych.dev"], "resources": ["diffusionmodels"], "verbs": ["get"]},
    ]
    assert [subject["name"] for subject in binding["subjects"]] == ["diptych-reporter"]
