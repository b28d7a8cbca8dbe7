"""The whole application on a real Ray Serve: two engine replicas, a gateway, a registry, a limiter."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.servingconfig import RegistryConfig, registry_config, serving_config
from diptych_serving.local import served
from diptych_serving.until_ready import wait_until_ready
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.adapters import saved_adapter
from support.http_keys import key
from support.ports import free_ports
from support.real_deployment import Deployment
from support.tiny_models import make_pipeline


@pytest.fixture(scope="package")
def style(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a base and of an adapter for it."""
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    return base, saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture(scope="package")
def deployment(style: tuple[Path, Path]) -> Iterator[Deployment]:
    """A deployment of two engine replicas that is quick to count requests."""
    (base, adapter), (http, grpc_) = style, free_ports(2)
    followed = {
        "adapters": [{"name": "style", "uri": str(adapter)}],
        "defaults": {"steps": 3, "guidanceScale": 2},
        "limits": {"maxSteps": 1000},
    }
    spec = DiffusionDeploymentSpec.model_validate(
        {
            "base": {"uri": str(base)},
            "replicas": 2,
            "resources": {"cpus": 1},
            "endpoints": {"http": {"port": http}, "grpc": {"port": grpc_, "reflection": True}},
            "ui": {"enabled": False},
            **followed,
        }
    )
    config = serving_config("test", None, spec)
    adapters = RegistryConfig.model_validate(followed).adapters
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_SERVE_SLOW_STARTUP_WARNING_S", "3")
        patch.setenv("TEST_API_KEYS", json.dumps([key("root", "admin", "generate")]))
        for who in ("REPLICA", "HANDLE"):
            patch.setenv(f"RAY_SERVE_{who}_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "0.5")
        with served(config, registry_config(spec, adapters), host="127.0.0.1") as url:
            wait_until_ready(url, lambda _: None)
            deployment = Deployment(url, config, followed)
            with deployment.client:
                yield deployment


@pytest.fixture(scope="package")
def stub(deployment: Deployment) -> Iterator[ImageServiceStub]:
    """A client of its gRPC API."""
    with grpc.insecure_channel(f"127.0.0.1:{deployment.config.endpoints.grpc.port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield ImageServiceStub(channel)
