"""gRPC, and what both protocols share."""

import base64

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from ray.serve.generated.serve_pb2 import HealthzRequest  # type: ignore[attr-defined]  # made when it is imported
from ray.serve.generated.serve_pb2_grpc import RayServeAPIServiceStub

from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.real_deployment import DOG, Deployment, details_of

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]


def test_grpc_and_http_draw_the_same(deployment: Deployment, stub: ImageServiceStub) -> None:
    arms = [pb.Arm(), pb.Arm(adapter="style")]
    answer = stub.Compare(pb.CompareRequest(params=pb.Params(prompt="a dog", seed=7), arms=arms, grid=True), timeout=60)
    http = deployment.post("/v1/compare", {**DOG, "arms": [{}, {"adapter": "style"}]})
    assert [base64.b64encode(image.image).decode() for image in answer.images] == [i["image"] for i in http["images"]]
    assert answer.grid.startswith(b"\x89PNG")
    assert answer.images[1].adapter_digest == http["images"][1]["adapter_digest"]
    assert [model.id for model in stub.ListModels(pb.ListModelsRequest()).models][1:] == ["style"]


def test_a_stream_tells_progress_and_previews_and_ends_in_the_pictures(stub: ImageServiceStub) -> None:
    params = pb.Params(prompt="a dog", seed=7, steps=6, preview_every=2)
    events = list(stub.GenerateStream(pb.GenerateRequest(params=params, n=2), timeout=60))
    kinds = [event.WhichOneof("kind") for event in events]
    steps = [event.progress.step for event in events if event.HasField("progress") and event.progress.picture == 0]
    assert steps == sorted(steps)
    assert steps[-1] == 6
    assert "preview" in kinds
    assert kinds[-1] == "pictures"
    assert [image.seed for image in events[-1].pictures.images] == [7, 8]


def test_a_grpc_error_has_code_reason_field_and_hint(stub: ImageServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="owl", scheduler="Magic")), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(caught.value)
    assert set(details) == {"ErrorInfo", "BadRequest"}
    bad = BadRequest()
    details["BadRequest"].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["scheduler"]
    with pytest.raises(grpc.RpcError) as missing:
        stub.Compare(pb.CompareRequest(params=pb.Params(prompt="owl"), arms=[pb.Arm(adapter="nix")]), timeout=60)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert "there is no adapter nix. There are: style." in (missing.value.details() or "")


def test_a_stream_that_fails_ends_with_the_same_error(stub: ImageServiceStub) -> None:
    call = stub.CompareStream(pb.CompareRequest(params=pb.Params(prompt="owl", steps=5000)), timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert next(iter(details_of(caught.value))) == "ErrorInfo"


def test_a_deadline_or_a_client_that_leaves_gives_the_rows_back(stub: ImageServiceStub) -> None:
    long = pb.GenerateRequest(params=pb.Params(prompt="a dog", steps=900), n=8)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Generate(long, timeout=1.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    call = stub.GenerateStream(long, timeout=120)
    assert next(call).WhichOneof("kind") == "progress"
    call.cancel()
    quick = stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="a dog", seed=7)), timeout=60)
    assert quick.timing.queue_ms < 20_000


def test_grpc_tells_its_health_and_its_methods(deployment: Deployment) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{deployment.config.endpoints.grpc.port}") as channel:
        assert RayServeAPIServiceStub(channel).Healthz(HealthzRequest(), timeout=30).message == "success"
        known = ProtoReflectionDescriptorDatabase(channel)
        assert "diptych.v1.ImageService" in known.get_services()
        file = known.FindFileContainingSymbol("diptych.v1.ImageService")
    assert {method.name for method in file.service[0].method} >= {"Generate", "CompareStream", "ListModels"}


def test_an_idempotency_key_draws_once_over_both_protocols(deployment: Deployment, stub: ImageServiceStub) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (
        deployment.client.post("/v1/generate", json={"prompt": "a dog"}, headers=headers).json() for _ in range(2)
    )
    assert first == again
    other = deployment.client.post("/v1/generate", json={"prompt": "a cat"}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (409, "IdempotencyKeyReused")
    request = pb.GenerateRequest(params=pb.Params(prompt="a dog"), idempotency_key="two")
    seeds = {stub.Generate(request).images[0].seed for _ in range(2)}
    assert len(seeds) == 1


def test_four_figures_count_both_protocols(deployment: Deployment, stub: ImageServiceStub) -> None:
    before = deployment.client.get("/metrics-lite").json()
    assert before.keys() == {"requests_total", "infer_total", "sessions_total", "last_request_at"}
    deployment.post("/v1/generate", DOG)
    stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="a dog")))
    counted = deployment.until(lambda a: a.json()["infer_total"] >= before["infer_total"] + 2, "/metrics-lite").json()
    assert counted["requests_total"] == before["requests_total"] + 2
    assert counted["last_request_at"] >= (before["last_request_at"] or 0)
