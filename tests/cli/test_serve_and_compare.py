"""`diptych serve` finds adapters on this machine; `diptych compare` asks a server and writes what it draws."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from support.adapters import saved_adapter
from support.http_server import listening
from support.recorded_run import diptych

pytestmark = pytest.mark.slow

DEPLOYMENT = """\
apiVersion: diptych.dev/v1alpha1
kind: DiffusionDeployment
metadata: {name: noto}
spec:
  base: {builtin: tiny-emoji}
  adapters: [{name: noto, fromJob: {name: noto-style}}]
"""
PLAIN = DEPLOYMENT.replace("[{name: noto, fromJob: {name: noto-style}}]", "[]")


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server, with an adapter that is there and one that is not."""
    with listening(base, saved_adapter(tmp_path_factory.mktemp("style"), base)) as url:
        yield url


def test_compare_writes_all_sides_in_one_picture(place: Path, server: str) -> None:
    ended = diptych(
        "compare", "a dog", "--seed", 7, "--server", server, "--arms", "base,noto,noto:0.5", "-o", "dog.png"
    )
    assert ended.exit_code == 0, ended.output
    with Image.open("dog.png") as grid:
        assert grid.width > 3 * 256
        record = json.loads(grid.info["diptych"])
    assert (record["prompt"], record["seed"], record["sides"]) == ("a dog", 7, ["base", "noto", "noto:0.5"])
    assert "noto:0.5         seed 7" in ended.stdout
    assert "✓ dog.png · tiny · 3 steps, 6 rows at once" in ended.stdout


def test_compare_shows_that_an_adapter_is_missing(place: Path, server: str) -> None:
    ended = diptych("compare", "a dog", "--seed", 7, "--server", server, "-o", "dog")
    assert "base             seed 7 · Adapter gone could not be loaded. /nowhere is neither" in ended.stdout
    assert Path("dog.png").is_file()


def test_compare_tells_scripts_everything_but_the_pictures(place: Path, server: str) -> None:
    told = json.loads(diptych("compare", "Owl!", "--seed", 5, "--server", server, "--arms", "noto", "--json").stdout)
    assert told["grid"] == "owl-5.png"
    assert Path("owl-5.png").is_file()
    assert told["images"][0]["adapter"] == "noto"
    assert "image" not in told["images"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--arms", "base,nix"), 2, "arms[1].adapter: there is no adapter nix."),
        (("--arms", "noto:much"), 2, "--arms: much is no strength."),
        (("--arms", "base:0.5"), 2, "--arms: base:0.5 is no side."),
        (("--arms", ""), 2, "--arms: nothing is no side."),
        (("--size", "60"), 2, "height: 60 pixels are not between 64 and 1024."),
        (("--steps", "500"), 2, "steps: 500 are more than 150."),
        (("-o", "/proc/nowhere/a.png"), 2, "/proc/nowhere/a.png cannot be written"),
    ],
)
def test_compare_says_what_is_wrong(
    place: Path, server: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended = diptych("compare", "a dog", "--server", server, *arguments)
    assert ended.exit_code == code
    assert message in ended.stderr


def test_compare_without_a_server_says_how_to_start_one(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = diptych("compare", "a dog", "--server", f"http://127.0.0.1:{port}")
    assert ended.exit_code == 75
    assert "Start a server: diptych serve" in ended.stderr


def test_serve_says_which_job_has_left_no_adapter(place: Path) -> None:
    Path("noto.yaml").write_text(DEPLOYMENT)
    ended = diptych("serve", "noto.yaml", "--runs", "elsewhere")
    assert ended.exit_code == 2
    assert "Job noto-style has left no adapter in elsewhere/local." in ended.stderr


def test_serve_refuses_what_it_cannot_honour(place: Path) -> None:
    Path("noto.yaml").write_text(PLAIN + "  backend: TensorRT\n")
    ended = diptych("serve", "noto.yaml")
    assert ended.exit_code == 2
    assert "spec.backend: TensorRT is not there yet." in ended.stderr


def test_serve_tells_which_settings_come_from_variables(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("noto.yaml").write_text(PLAIN + "  backend: TensorRT\n")
    for name, value in {"AD_IP_MAX_REQ_DAY": "7", "PORT": "8123", "AD_LOG_LEVEL": "warning"}.items():
        monkeypatch.setenv(name, value)
    ended = diptych("serve", "noto.yaml")
    assert "note: AD_IP_MAX_REQ_DAY=7 sets spec.rateLimit.ip.maxRequestsPerDay." in ended.stdout
    assert "note: PORT sets endpoints.http.port=8123." in ended.stdout
    assert "note: AD_LOG_LEVEL sets logLevel=WARNING." in ended.stdout


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AD_IP_MAX_REQ_DAY", "many", "AD_IP_MAX_REQ_DAY=many: Input should be a valid integer"),
        ("PORT", "99999", "endpoints.http.port"),
        ("AD_LOG_LEVEL", "loud", "logLevel"),
    ],
)
def test_serve_refuses_a_variable_that_is_wrong(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    Path("noto.yaml").write_text(DEPLOYMENT)
    monkeypatch.setenv(name, value)
    ended = diptych("serve", "noto.yaml")
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_serve_refuses_an_artifact_that_was_changed(place: Path, run: Path) -> None:
    Path("noto.yaml").write_text(DEPLOYMENT)
    weights = next(run.glob("artifact/peft/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    ended = diptych("serve", "noto.yaml", "--runs", "runs")
    assert ended.exit_code == 1
    assert "is not what the run wrote: its hash differs." in ended.stderr


class Stranger(BaseHTTPRequestHandler):
    """A server that is not ours."""

    content = b""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"[]", b'{"images": []}'])
def test_compare_knows_that_a_server_is_not_ours(place: Path, content: bytes) -> None:
    handler = type("Handler", (Stranger,), {"content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        ended = diptych("compare", "a dog", "--server", f"http://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert ended.exit_code == 1
    assert "Is it a Diptych server?" in ended.stderr


def test_generate_draws_on_a_server_as_compare_does(place: Path, server: str) -> None:
    ended = diptych("generate", "a dog", "--seed", 7, "-n", 2, "--server", server, "--adapter", "noto", "-o", "dog")
    assert ended.exit_code == 0, ended.output
    assert "✓ dog-7.png · seed 7" in ended.stdout
    with Image.open("dog-8.png") as picture:
        record = json.loads(picture.info["diptych"])
    assert (record["prompt"], record["seed"], record["adapter"]) == ("a dog", 8, "noto")


def test_generate_on_a_server_says_when_an_adapter_is_missing(place: Path, server: str) -> None:
    told = diptych("generate", "a dog", "--server", server, "--adapter", "gone").stdout
    assert "Adapter gone could not be loaded" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run", "runs/local/x"), "--run and --base are of this machine"),
        (("--adapter", "nix"), "there is no adapter nix"),
        (("-n", "9"), "n: 9 pictures are more than 8."),
    ],
)
def test_generate_on_a_server_says_what_is_wrong(
    place: Path, server: str, arguments: tuple[str, ...], message: str
) -> None:
    ended = diptych("generate", "a dog", "--server", server, *arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
