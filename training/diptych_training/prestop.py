"""`python -m diptych_training.prestop`: what a pod does before it is stopped, so that a checkpoint is left.

In the head's pod the driver is asked to stop, and waited for. In a worker's pod the head's Ray is asked to stop the
job, which asks the driver, and the worker stays as long as the driver needs it. The pod's grace period bounds it all.
"""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = b"diptych_training"
RUNNING: Final = frozenset({"PENDING", "RUNNING"})
POLL_S: Final = 0.5
TIMEOUT_S: Final = 5.0


def main(environment: Mapping[str, str] = os.environ, processes: Path = Path("/proc")) -> int:
    """Leave once the driver has saved its state, or when there is none."""
    head = environment.get("FQ_RAY_IP")
    if head is None:
        leave_head(processes)
    else:
        leave_worker(f"http://{head}:8265", environment.get("RAY_AUTH_TOKEN", ""))
    return 0


def leave_head(processes: Path) -> None:
    """Ask the drivers on this machine to stop, and wait until they have."""
    for driver in drivers(processes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(driver, signal.SIGTERM)
    while drivers(processes):
        time.sleep(POLL_S)


def leave_worker(dashboard: str, token: str) -> None:
    """Ask Ray to stop its jobs, and wait until they are over or Ray is gone."""
    try:
        for job in _running(dashboard, token):
            _ask(f"{dashboard}/api/jobs/{job}/stop", token, "POST")
        while _running(dashboard, token):
            time.sleep(POLL_S)
    except (OSError, ValueError) as error:  # the head is gone, so there is nobody to wait for
        print(f"The head does not answer: {error}", file=sys.stderr)  # noqa: T201 - kubelet tells it in an Event


def drivers(processes: Path) -> list[int]:
    """Return the process ids of training programs: `python -m diptych_training --job …`."""
    found = []
    for folder in processes.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if PROGRAM in words and b"--job" in words:
                    found.append(int(folder.name))
    return found


def _running(dashboard: str, token: str) -> list[str]:
    jobs = _ask(f"{dashboard}/api/jobs/", token)
    return [job["submission_id"] for job in jobs if job.get("submission_id") and job.get("status") in RUNNING]


def _ask(url: str, token: str, method: str = "GET") -> Any:  # noqa: ANN401 - JSON of any form
    headers = {"x-ray-authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - always http
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - same
        return json.loads(reply.read())


if __name__ == "__main__":
    sys.exit(main())
