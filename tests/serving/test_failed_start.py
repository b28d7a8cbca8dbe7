"""An engine that cannot start, on a real Ray Serve: /ready says why while it is tried again."""

import time
from pathlib import Path

import httpx2
import pytest
import ray
from ray import serve

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.servingconfig import registry_config, serving_config
from diptych_serving.local import _start_ray, apply
from support.tiny_models import make_pipeline

PORT = 18471
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def note_told_at(url: str, about: str) -> str:
    """Ask until /ready has a note with these words, as a probe does, and return it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            answer = httpx2.get(url, timeout=10)
        except httpx2.TransportError:
            answer = None
        if answer is not None and about in answer.text:
            values = answer.json()
            assert (answer.status_code, values["ready"]) == (503, False)
            return str(next(note for note in values["notes"] if about in note))
        time.sleep(0.2)
    raise AssertionError(f"{about} was not told")


def test_ready_says_why_no_engine_starts(tmp_path: Path) -> None:
    spec = DiffusionDeploymentSpec.model_validate(
        {
            "base": {"uri": str(make_pipeline(tmp_path))},
            "backend": "ONNX",
            "resources": {"cpus": 1},
            "endpoints": {"http": {"port": PORT}, "grpc": {"port": PORT + 1}},
            "ui": {"enabled": False},
        }
    )
    config = serving_config("test", None, spec)
    _start_ray(config, None)
    try:
        apply(config, registry_config(spec, []), host="127.0.0.1")
        note = note_told_at(f"http://127.0.0.1:{PORT}/ready", "Back-end ONNX")
    finally:
        serve.shutdown()
        ray.shutdown()
    assert note == "UnsupportedHere: Back-end ONNX is not there yet. Set spec.backend to PyTorch."
