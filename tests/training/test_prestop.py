import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from diptych_training.prestop import drivers, leave_head, leave_worker
from support.waiting import until

DRIVER = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); print('up', flush=True); signal.pause()"


class Dashboard(BaseHTTPRequestHandler):
    """Ray's jobs API, as far as a worker asks it: a job runs until somebody asks it to stop, and is seen once more."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append("GET")
        stopped = self.asked[-2:] == ["GET", "GET"]
        status = "STOPPED" if stopped else "RUNNING"
        jobs = [{"submission_id": "noto-1", "status": status}, {"submission_id": None, "status": "RUNNING"}]
        self.answer(jobs if self.headers["x-ray-authorization"] == "Bearer secret" else [])

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path}")
        self.answer({"stopped": True})

    def answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def dashboard() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Dashboard,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def listed(folder: Path, process: subprocess.Popen[str]) -> None:
    """List a process as /proc does; its folder is a link, so that it goes when the process is waited for."""
    (folder / str(process.pid)).mkdir()
    (folder / str(process.pid) / "cmdline").symlink_to(f"/proc/{process.pid}/cmdline")


def test_the_head_asks_its_driver_to_stop_and_waits_until_it_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, "-m", "diptych_training", "--job", "/etc/diptych/job.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        listed(tmp_path, driver)
        leave_head(tmp_path)
        assert driver.wait() == 130


def test_the_shell_around_the_driver_is_no_driver(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read x; : -m diptych_training --job x"], stdin=subprocess.PIPE) as shell:
        (tmp_path / str(shell.pid)).mkdir()
        (tmp_path / str(shell.pid) / "cmdline").symlink_to(f"/proc/{shell.pid}/cmdline")
        assert drivers(tmp_path) == []
        shell.send_signal(signal.SIGKILL)


def test_a_worker_asks_ray_to_stop_the_job_and_stays_until_it_is_over() -> None:
    with dashboard() as (url, asked):
        leave_worker(url, "secret")
    assert asked == ["GET", "POST /api/jobs/noto-1/stop", "GET", "GET"]


def test_a_worker_whose_head_is_gone_leaves_at_once() -> None:
    with dashboard() as (url, asked):
        pass
    leave_worker(url, "secret")
    assert asked == []


def test_a_program_that_ends_by_itself_is_not_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass", "diptych_training", "--job"], text=True) as driver:
        listed(tmp_path, driver)
        until(lambda: driver.poll() is not None)
        leave_head(tmp_path)
