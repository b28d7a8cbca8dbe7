"""`diptych serve` in a process of its own that is asked to stop before it serves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOYMENT = """\
apiVersion: diptych.dev/v1alpha1
kind: DiffusionDeployment
metadata: {name: early}
spec:
  base: {builtin: tiny-emoji}
  resources: {cpus: 1}
  endpoints: {http: {port: 18511}, grpc: {enabled: false}}
  ui: {enabled: false}
"""
COMMAND = [str(Path(sys.executable).with_name("diptych")), "serve", "early.yaml"]
pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]


@pytest.mark.parametrize("other", [{}, {"RAY_ADDRESS": "127.0.0.1:9"}], ids=["alone", "another Ray is named"])
def test_ctrl_c_ends_what_has_not_started(other: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "early.yaml").write_text(DEPLOYMENT)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | other
    with (
        (tmp_path / "errors").open("w") as errors,
        subprocess.Popen(
            COMMAND, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as server,
    ):
        assert server.stdout is not None
        assert "starting Ray" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        told = server.stdout.read()
    assert server.returncode == 0, (tmp_path / "errors").read_text()
    assert "stopping once Ray is up" in told
    assert told.splitlines()[-1] == "stopped."
    assert "serving on" not in told
