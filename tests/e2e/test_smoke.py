"""The whole way: a job trains in Ray pods, a deployment serves its adapter, base and tuned are compared."""

import io
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from e2e.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
SMALL = "kubectl kustomize --load-restrictor LoadRestrictionsNone tests/e2e/small"
PROMPT, SEED = "red apple", 7


def test_from_a_job_to_compared_pictures(shell: Shell, tmp_path: Path) -> None:
    shell(f"{SMALL}/job | kubectl apply -f -")
    with shell.running("kubectl get finetunejob noto-style -w"):
        shell("kubectl wait finetunejob/noto-style --for=condition=Succeeded --timeout=15m", timeout_s=930)
    seen = re.findall(r"^noto-style +(\w+) +(\d+)%", shell.transcript.read_text(encoding="utf-8"), re.MULTILINE)
    assert any(phase == "Running" and 0 < int(percent) < 100 for phase, percent in seen), seen
    line = shell("kubectl get finetunejob noto-style").splitlines()[1]
    assert "Succeeded" in line
    assert "100%" in line
    shell(f"{SMALL}/deployment | kubectl apply -f -")
    shell("kubectl wait diffusiondeployment/noto --for=condition=Ready --timeout=8m", timeout_s=500)
    with shell.forwarded("service/noto-images", 8000, 9000) as (http, rpc):
        png = tmp_path / "compare.png"
        shell(f'diptych compare "{PROMPT}" --seed {SEED} --server http://127.0.0.1:{http} -o {png}')
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            request = pb.CompareRequest(params=pb.Params(prompt=PROMPT, seed=SEED))
            answer = ImageServiceStub(channel).Compare(request, timeout=120)
    base, tuned = (np.asarray(Image.open(io.BytesIO(picture.image))) for picture in answer.images)
    assert (base != tuned).any()
    with Image.open(png) as both:
        assert both.width >= 2 * base.shape[1]
    shell("kubectl delete diffusiondeployment/noto finetunejob/noto-style --wait")
