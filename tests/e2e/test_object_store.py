"""A run store in a bucket: a job leaves its artifact there, a deployment draws with it, and people export it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.object_server import KEYS
from e2e.deployments import deployment
from e2e.jobs import job, workspace
from e2e.shell import Shell
from e2e.store import BUCKET, PORT, object_store

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
CREDENTIALS = {"name": "store"}


def test_a_job_and_a_deployment_meet_in_a_bucket(shell: Shell, node: "Access", tmp_path: Path) -> None:
    shell.apply(*object_store(node.load_versitygw(), node.images.busybox), workspace())
    shell("kubectl wait pod/store --for=condition=Ready --timeout=60s")
    shell.apply(job("stored", output={"uri": f"s3://{BUCKET}/runs", "credentials": CREDENTIALS}))
    shell("kubectl wait finetunejob/stored --for=condition=Succeeded --timeout=12m", timeout_s=750)
    artifact = shell.told("finetunejob/stored", ".status.artifact.uri")
    assert artifact.startswith(f"s3://{BUCKET}/runs/")
    adapter = {"name": "noto", "fromJob": {"name": "stored"}, "credentials": CREDENTIALS}
    shell.apply(deployment("stored", adapters=[adapter]))
    shell("kubectl wait diffusiondeployment/stored --for=condition=Ready --timeout=8m", timeout_s=500)
    assert "1/1" in shell("kubectl get diffusiondeployment stored")
    with shell.forwarded("service/stored-images", 8000) as (http,):
        shell(f'diptych compare "red apple" --server http://127.0.0.1:{http} -o {tmp_path / "compare.png"}')
    with shell.forwarded("pod/store", PORT) as (store,):
        variables = " ".join(f"{name}={value}" for name, value in KEYS.items())
        run, there = artifact.removesuffix("/artifact"), f"AWS_ENDPOINT_URL=http://127.0.0.1:{store}"
        shell(f"{variables} {there} diptych export {run} --format kohya -o {tmp_path / 'noto.safetensors'}")
    assert (tmp_path / "noto.safetensors").stat().st_size
    shell("kubectl delete diffusiondeployment/stored finetunejob/stored --wait")
