"""A deployment that follows a model, for all its clients: each gets the same pictures, also when an engine is lost."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx2
import numpy as np
import openai
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from cluster.objects import reference
from cluster.ports import free_port
from cluster.tools import find
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from e2e.deployments import deployment
from e2e.jobs import job, workspace
from e2e.load import Load
from e2e.shell import Shell
from e2e.volume import keeper
from support.services import picture_of
from support.waiting import until

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
ENGINES = "pods -l diptych.dev/deployment=noto,ray.io/node-type=worker"
PROMPT, SEED = "red apple", 7
HOW = {"num_inference_steps": 20, "guidance_scale": 3}
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment that follows a model, seen from the test's machine."""

    shell: Shell
    http: httpx2.Client
    rpc: int

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    @property
    def run(self) -> str:
        """The run whose adapter draws."""
        models = self.http.get("/v1/models").json()["data"]
        return str(next(model["run"] for model in models if model["id"] == "noto"))

    def post(self, path: str, **body: Any) -> httpx2.Response:
        answer = self.http.post(path, json={"prompt": PROMPT, "seed": SEED} | body)
        assert answer.is_success, answer.text
        return answer


@pytest.fixture(scope="module")
def served(shared_shell: Shell) -> Iterator[Served]:
    """Yield a deployment of a model to which a first job was promoted."""
    shell = shared_shell
    shell.apply(workspace(), reference("diptych.dev/v1alpha1", "DiffusionModel", "noto") | {"spec": {}})
    shell.apply(job("first", promotion={"model": "noto"}))
    shell("kubectl wait finetunejob/first --for=condition=Succeeded --timeout=10m", timeout_s=630)
    follows = [{"name": "noto", "fromModel": {"name": "noto"}}]
    shell.apply(deployment("noto", adapters=follows, endpoints={"grpc": {"reflection": True}}))
    shell("kubectl wait diffusiondeployment/noto --for=condition=Ready --timeout=8m", timeout_s=500)
    with (
        shell.forwarded("service/noto-images", 8000, 9000) as (http, rpc),
        httpx2.Client(base_url=f"http://127.0.0.1:{http}", timeout=120) as client,
    ):
        until(lambda: answers(client), 120, every_s=1)
        yield Served(shell, client, rpc)
    shell("kubectl delete diffusiondeployment/noto --wait")


@pytest.fixture(scope="module")
def pictures(served: Served) -> tuple[Pixels, Pixels]:
    """Return base and tuned as /v1/compare draws them."""
    base, tuned = (picture_of(each["image"]) for each in served.post("/v1/compare").json()["images"])
    assert (base != tuned).any()
    return base, tuned


def test_infer(served: Served, pictures: tuple[Pixels, Pixels]) -> None:
    answer = served.post("/infer", steps=20, scale=3, height=64, width=64).json()
    same(picture_of(answer["base_image"]), pictures[0])
    same(picture_of(answer["lora_image"]), pictures[1])


def test_generate(served: Served, pictures: tuple[Pixels, Pixels]) -> None:
    for kind, picture in zip(("original", "fine-tuned"), pictures, strict=True):
        same(decoded(served.post("/generate/", model_type=kind, **HOW).content), picture)


def test_openai(served: Served, pictures: tuple[Pixels, Pixels]) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.images.generate(prompt=PROMPT, model="noto", extra_body={"seed": SEED} | HOW)
    assert answer.data
    assert answer.data[0].b64_json
    same(picture_of(answer.data[0].b64_json), pictures[1])


def test_grpc(served: Served, pictures: tuple[Pixels, Pixels]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.rpc}") as channel:
        request = pb.CompareRequest(params=pb.Params(prompt=PROMPT, seed=SEED))
        answer = ImageServiceStub(channel).Compare(request, timeout=120, metadata=[("application", "images")])
    for image, picture in zip(answer.images, pictures, strict=True):
        same(decoded(image.image), picture)


def test_grpcurl(served: Served, pictures: tuple[Pixels, Pixels]) -> None:
    body = json.dumps({"params": {"prompt": PROMPT, "seed": SEED}})
    asked = f"-plaintext -H 'application: images' -max-msg-sz 16777216 -d '{body}' 127.0.0.1:{served.rpc}"
    answer = json.loads(served.shell.quietly(f"{find('grpcurl')} {asked} diptych.v1.ImageService/Compare"))
    for image, picture in zip(answer["images"], pictures, strict=True):
        same(picture_of(image["image"]), picture)


def test_diptych_serve_draws_the_same(
    served: Served, pictures: tuple[Pixels, Pixels], node: "Access", tmp_path: Path
) -> None:
    shell, adapter, url = served.shell, tmp_path / "adapter", f"http://127.0.0.1:{free_port()}"
    shell.apply(keeper(node.images.busybox))
    shell("kubectl wait pod/keeper --for=condition=Ready --timeout=60s")
    artifact = shell.told("finetunejob/first", ".status.artifact.uri").partition("/runs/")[2]
    shell(f"kubectl cp keeper:/store/runs/{artifact} {adapter}")
    local = deployment("local", adapters=[{"name": "noto", "uri": str(adapter)}])
    local["spec"]["endpoints"] = {"http": {"port": int(url.rpartition(":")[2])}, "grpc": {"enabled": False}}
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
    with shell.running(f"diptych serve {tmp_path / 'local.yaml'}"), httpx2.Client(base_url=url, timeout=120) as client:
        until(lambda: answers(client), 240, every_s=1)
        drawn = replace(served, http=client).post("/v1/compare").json()["images"]
    for image, picture in zip(drawn, pictures, strict=True):
        same(picture_of(image["image"]), picture)


def test_a_better_version_is_drawn_with_under_load_and_rolled_back_by_one_command(served: Served) -> None:
    shell, engines, first = served.shell, served.shell.restarts(ENGINES), served.run
    with Load(served.url, "noto") as load:
        shell.apply(job("second", training={"steps": 80}, promotion={"model": "noto"}))
        shell("kubectl wait finetunejob/second --for=condition=Succeeded --timeout=12m", timeout_s=750)
        until(lambda: served.run not in ("", first), 120, every_s=1)
        shell("kubectl get diffusionmodel noto")
        shell("diptych promote noto --rollback")
        until(lambda: served.run == first, 120, every_s=1)
    assert load.answered
    assert not load.failed
    assert shell.restarts(ENGINES) == engines


def test_a_lost_engine_is_replaced_and_what_it_drew_is_drawn_again(served: Served) -> None:
    lost = served.shell.told(ENGINES, ".items[*].metadata.name")
    with Load(served.url, None) as load:
        until(lambda: load.answered > 1, 60)
        served.shell(f"kubectl delete pod {lost} --force --grace-period=0")
        until(lambda: served.shell.told(ENGINES, ".items[*].metadata.name") not in ("", lost), 120, every_s=1)
        before = load.answered
        until(lambda: load.answered > before + 1, 240, every_s=1)
    assert not load.failed


def answers(client: httpx2.Client) -> bool:
    """Return whether a deployment is ready for requests."""
    try:
        return client.get("/ready").is_success
    except httpx2.HTTPError:
        return False


def same(one: Pixels, other: Pixels) -> None:
    """Assert that pictures are equal but for what rounding to bytes makes of 1e-5."""
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= 1


def decoded(png: bytes) -> Pixels:
    """Return the pixels of a PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))
