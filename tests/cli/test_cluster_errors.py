"""A cluster that is unknown, away or unwilling is told in a sentence with what to do, never by a traceback."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diptych_api.errors import DiptychError, RetryLater, UserError
from diptych_cli.cluster_errors import Absent, refusal
from support.recorded_run import diptych

COMMANDS = [["get"], ["logs", "noto"], ["cancel", "noto"], ["wait", "noto"], ["promote", "noto", "--unpin"]]


def write_kubeconfig(folder: Path, url: str) -> Path:
    """Write a kubeconfig with one context."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "current-context": "x",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_cluster_that_does_not_answer_may_answer_later(place: Path, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    ended = diptych(*command, "--kubeconfig", write_kubeconfig(place, url))
    assert ended.exit_code == 75
    assert f"The cluster at {url} does not answer" in ended.stderr
    assert "--context" in ended.stderr


def test_without_a_kubeconfig_no_cluster_is_known(place: Path) -> None:
    ended = diptych("get", "--kubeconfig", "none")
    assert ended.exit_code == 2
    assert "No cluster is known" in ended.stderr
    assert "Set KUBECONFIG" in ended.stderr


def test_a_context_that_is_not_there_is_named(place: Path) -> None:
    ended = diptych("get", "--kubeconfig", write_kubeconfig(place, "http://127.0.0.1:9"), "--context", "prod")
    assert ended.exit_code == 2
    assert "prod" in ended.stderr


def test_a_missing_client_says_how_to_install_it(place: Path) -> None:
    program = "import sys; sys.modules['kubernetes'] = None; from diptych_cli.main import app; app()"
    ended = subprocess.run([sys.executable, "-c", program, "get"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "uv pip install 'diptych[operator]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_kind_that_is_none_is_told(place: Path) -> None:
    ended = diptych("get", "pods")
    assert (ended.exit_code, ended.stderr.splitlines()[0]) == (2, "error: pods is no kind.")


def status(code: int, message: str, **details: str) -> bytes:
    """Return an error as the API server writes it."""
    return json.dumps({"kind": "Status", "code": code, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind", "told"),
    [
        (404, status(404, 'finetunejobs "a" not found', name="a"), Absent, "There is no FineTuneJob a."),
        (404, b"404 page not found", Absent, "does not know FineTuneJob a: 404 page not found."),
        (401, status(401, "Unauthorized"), UserError, "does not accept your credentials"),
        (403, status(403, "jobs is forbidden"), UserError, "jobs is forbidden."),
        (422, status(422, "spec.lora cannot change"), UserError, "spec.lora cannot change."),
        (409, status(409, "the object has been modified"), RetryLater, "the object has been modified."),
        (429, status(429, "too many requests"), RetryLater, "too many requests."),
        (500, b"", RetryLater, "the API server answered 500."),
    ],
)
def test_refusals_keep_the_words_of_the_server(code: int, body: bytes, kind: type[DiptychError], told: str) -> None:
    error = refusal(code, body, "FineTuneJob a")
    assert type(error) is kind
    assert told in error.message
