"""Serve what noto-style.yaml trained and compare it with the base over HTTP and gRPC: the last part of `make demo`.

    python examples/compare_on_server.py demo

The folder is what `diptych run --evidence` left: its held-out prompts are drawn again, now by the server, from the same
seeds. compare.png there is replaced by the server's pictures beside the real ones.
"""

import base64
import io
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych_api.evaluation_report import EvaluationReport, PairResult
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from diptych_training.grids import GridRow, compare_grid

DEPLOYMENT: Final = "examples/noto-deployment.yaml"
ADAPTER: Final = "noto"
ROWS: Final = 8
START_S: Final = 600.0
PAUSE_S: Final = 0.5
ROUNDING: Final = 1
"""Of 255: a picture's batch mates change its last bits."""
Picture = NDArray[np.uint8]
"""``[H, W, 3]``."""


def main(folder: Path) -> None:
    """Serve, compare over both protocols, write the picture, stop."""
    report = EvaluationReport.model_validate_json((folder / "report.json").read_bytes())
    pairs = report.pairs[:ROWS]
    http, rpc = free_ports(2)
    with serving(folder / "runs", http, rpc), ThreadPoolExecutor(ROWS) as clients:
        started = time.monotonic()
        over_http = list(clients.map(lambda pair: compared_over_http(http, pair, report), pairs))
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            service = ImageServiceStub(channel)
            over_grpc = list(clients.map(lambda pair: compared_over_grpc(service, pair, report), pairs))
        seconds = time.monotonic() - started
    rows = [GridRow(p.prompt, (read(folder / str(p.real)), *drawn)) for p, drawn in zip(pairs, over_http, strict=True)]
    for pair, one, other in zip(pairs, over_http, over_grpc, strict=True):
        if np.abs(np.subtract(one, other, dtype=int)).max() > ROUNDING:
            sys.exit(f"HTTP and gRPC drew different pictures of {pair.prompt}.")
    note = f"diptych serve {DEPLOYMENT} · same prompt and seed on both sides"
    compare_grid(rows, ("real", "base", "tuned"), rows_each=ROWS // 2, note=note).save(folder / "compare.png")
    print(f"✓ compared {len(rows)} held-out prompts over HTTP, then over gRPC, in {seconds:.1f} s: the same pictures")
    print(f"✓ {folder / 'compare.png'}")
    print(f"next: diptych serve {DEPLOYMENT} --runs {folder / 'runs'}      (with a page on /ui)")
    print('      diptych compare "red apple"')


@contextmanager
def serving(runs: Path, http: int, rpc: int) -> Iterator[None]:
    """Run `diptych serve` for the time of the body."""
    settings = [f"endpoints.http.port={http}", f"endpoints.grpc.port={rpc}", "ui.enabled=false"]
    diptych = Path(sys.executable).with_name("diptych")
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [diptych, "serve", DEPLOYMENT, "--runs", runs, *changes]
    with ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen(command))  # noqa: S603 - our own words
        stack.callback(server.send_signal, signal.SIGINT)
        deadline = time.monotonic() + START_S
        while not is_ready(http):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("The server did not start.")
            time.sleep(PAUSE_S)
        yield


def is_ready(port: int) -> bool:
    """Whether the base and the adapter are loaded."""
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def compared_over_http(port: int, pair: PairResult, report: EvaluationReport) -> list[Picture]:
    """Return base and tuned."""
    body: dict[str, Any] = {
        "prompt": pair.prompt,
        "seed": pair.seed,
        "arms": [{}, {"adapter": ADAPTER}],
        "steps": report.inference_steps,
        "guidance_scale": report.guidance_scale,
        "scheduler": report.scheduler,
    }
    answer = httpx2.post(f"http://127.0.0.1:{port}/v1/compare", json=body, timeout=120).raise_for_status()
    return [read(io.BytesIO(base64.b64decode(image["image"]))) for image in answer.json()["images"]]


def compared_over_grpc(service: ImageServiceStub, pair: PairResult, report: EvaluationReport) -> list[Picture]:
    """Return base and tuned."""
    params = pb.Params(
        prompt=pair.prompt,
        seed=pair.seed,
        steps=report.inference_steps,
        guidance_scale=report.guidance_scale,
        scheduler=report.scheduler,
    )
    request = pb.CompareRequest(params=params, arms=[pb.Arm(), pb.Arm(adapter=ADAPTER)])
    return [read(io.BytesIO(image.image)) for image in service.Compare(request, timeout=120).images]


def read(file: Path | io.BytesIO) -> Picture:
    """Return a picture."""
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [taken.getsockname()[1] for taken in sockets]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
