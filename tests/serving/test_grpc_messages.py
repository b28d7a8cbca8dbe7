"""Messages of gRPC and bodies of HTTP say the same; what the proto generates is what is in the tree."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from diptych_serving.bodies import GenerateBody, ImageReply, ModelReply, PictureBody
from diptych_serving.grpc_messages import compare_body, generate_body
from diptych_serving.v1 import images_pb2 as pb

ROOT = Path(__file__).parents[2]


def test_the_generated_code_is_the_protos(tmp_path: Path) -> None:
    proto = "serving/diptych_serving/v1/images.proto"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", "serving", *outputs, proto], cwd=ROOT, check=True)
    for made in (tmp_path / "diptych_serving" / "v1").iterdir():
        assert made.read_text() == (ROOT / "serving" / "diptych_serving" / "v1" / made.name).read_text(), "make proto"


@pytest.mark.parametrize(
    ("message", "model", "without"),
    [
        (pb.Params, PictureBody, {"preview_every"}),
        (pb.Picture, ImageReply, set[str]()),
        (pb.Model, ModelReply, {"object"}),
    ],
)
def test_both_protocols_have_the_same_fields(message: type, model: type, without: set[str]) -> None:
    fields = {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    assert fields ^ set(model.model_fields) == without  # type: ignore[attr-defined]


def test_what_is_left_out_stays_left_out() -> None:
    assert generate_body(pb.GenerateRequest(params=pb.Params(prompt="owl"))) == GenerateBody(prompt="owl")


def test_zeros_that_were_given_are_not_taken_for_left_out() -> None:
    params = pb.Params(prompt="owl", seed=0, guidance_scale=0, negative_prompt="")
    body = generate_body(pb.GenerateRequest(params=params, arm=pb.Arm(adapter="noto", strength=0)))
    assert (body.seed, body.guidance_scale, body.negative_prompt, body.strength) == (0, 0, "", 0)


def test_an_arm_that_names_nothing_is_the_base() -> None:
    body = compare_body(pb.CompareRequest(params=pb.Params(prompt="owl"), arms=[pb.Arm(), pb.Arm(adapter="noto")]))
    assert body.arms is not None
    assert [arm.adapter for arm in body.arms] == [None, "noto"]


@pytest.mark.parametrize(
    "params", [{"scheduler": "Magic"}, {"steps": 0}, {"format": "gif"}, {"eta": float("nan")}, {"seed": 2**60}]
)
def test_a_value_out_of_bounds_is_refused(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        generate_body(pb.GenerateRequest(params=pb.Params(prompt="owl", **params)))  # type: ignore[arg-type]
