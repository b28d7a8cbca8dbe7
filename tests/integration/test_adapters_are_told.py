"""An adapter that the engines refuse, as kubectl shows it: the gateway is a real HTTP server, the pods are played."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.rayservice_states import TO_SERVING
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, RAY_SERVICE
from support.helm import HOME
from support.memory_moves import GALLERY, gallery_spec
from support.operator_process import STEADY, OperatorProcess
from support.rights import ACCOUNT, install_account
from support.stage import Stage
from support.waiting import until

pytestmark = pytest.mark.integration
URI = "s3://bucket/style"
WHY = "s3://bucket/style holds no .safetensors file. Give an adapter's folder or file."


class Gateway:
    """Answers /ready as a gateway does, on this machine."""

    def __init__(self) -> None:
        self.adapter: dict[str, Any] = {"state": "Loading"}
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if gateway.adapter["state"] != "Loading" else 503)
                self.end_headers()
                self.wfile.write(gateway.body())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def body(self) -> bytes:
        adapter = self.adapter | {"mark": ServedAdapter(name="style", uri=URI).mark}
        speed = {"p50_seconds": 1.93, "p95_seconds": 2.2, "images_per_minute": 30}
        told = {"ready": adapter["state"] != "Loading", "replicas": 1, "performance": speed}
        return json.dumps(told | {"adapters": {"style": adapter}}).encode()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    answering = Gateway()
    with answering.server as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield answering
        server.shutdown()
        thread.join()


@pytest.fixture
def operator(control_plane: ControlPlane, gateway: Gateway, tmp_path: Any) -> Iterator[OperatorProcess]:
    install_account(control_plane, {})
    address = f"http://127.0.0.1:{gateway.server.server_port}"
    kubeconfig = control_plane.kubeconfig_for(HOME, ACCOUNT)
    settings = STEADY | {"lease_namespace": HOME, "gateway_url": address}
    process = OperatorProcess(kubeconfig, tmp_path, "operator", **settings)
    with process:
        yield process
    assert process.complaints() == []


def test_a_refused_adapter_is_seen_with_its_reason_while_the_base_serves(
    control_plane: ControlPlane, operator: OperatorProcess, gateway: Gateway, stage: Stage
) -> None:
    def kubectl(*words: str) -> str:
        told: str = control_plane.kubectl(*words, "-n", stage.namespace)
        return told

    def row() -> list[str]:
        return kubectl("get", "dd", GALLERY, "--no-headers").split()

    stage.create(gallery_spec(adapters=[{"name": "style", "uri": URI}]))
    until(lambda: stage.find(RAY_SERVICE, GALLERY) is not None)
    stage.play(RAY_SERVICE, GALLERY, *TO_SERVING)
    kubectl("wait", f"dd/{GALLERY}", "--for=condition=Ready", "--timeout=180s")
    assert "0/1" in row()
    gateway.adapter = {"state": "Failed", "message": WHY}
    kubectl("wait", f"dd/{GALLERY}", "--for=condition=Degraded", "--timeout=180s")
    assert {"True", "0/1", "1.9s"} <= set(row())
    described = kubectl("describe", "dd", GALLERY)
    assert described.count(WHY) >= 3
    assert "AdapterFailed" in described
    operator.kill()
    operator.start()
    assert stage.status(DIFFUSION_DEPLOYMENT, GALLERY)["adapters"][0]["state"] == "Failed"
    gateway.adapter = {"state": "Loaded", "step": 300}
    kubectl("wait", f"dd/{GALLERY}", "--for=condition=AdaptersLoaded", "--timeout=180s")
    assert "1/1" in row()
    assert stage.status(DIFFUSION_DEPLOYMENT, GALLERY)["adapters"][0]["fromStep"] == 300
