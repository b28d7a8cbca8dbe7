"""`python -m diptych_training --job FILE`: the entrypoint of every RayJob, the same from a shell."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

DESCRIPTION: Final = "Run one FineTuneJob to its end: the program in a job's head pod, the same from a shell."
EPILOG: Final = """\
Exit codes: 0 done, 1 the run failed, 2 something to change, 75 may pass by itself, 130 stopped and saved.

$ python -m diptych_training --job job.yaml
    On this machine. Reports are lines of JSON.
$ python -m diptych_training --job /etc/diptych/job.json --address auto
    On the Ray cluster that this machine belongs to.
$ python -m diptych_training --stop
    What a preStop hook runs: asks those who train in this pod to save and stop, and waits until they did.
"""


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    given = _parser().parse_args(arguments)
    if given.stop:
        return _stop(given.timeout)
    if given.publish:
        from diptych_training.pod_publish import publish_run  # noqa: PLC0415 - the stop hook needs to be quick

        return publish_run(given.publish, os.environ)
    from diptych_training.api_server import ACCOUNT, ApiServer  # noqa: PLC0415 - the stop hook needs to be quick
    from diptych_training.pod import PodRequest, run_job  # noqa: PLC0415 - as above

    server = ApiServer(given.api_server, given.account or ACCOUNT) if given.api_server else None
    return run_job(PodRequest(given.job, given.address, server), os.environ)


def _stop(timeout_s: float) -> int:
    from diptych_training.station import VARIABLE, Station, wait_until_heard  # noqa: PLC0415 - the other way needs none

    station = Station.of(os.environ)
    if station is None:
        print(f"{VARIABLE} is not set, so nobody can be asked to stop.", file=sys.stderr)  # noqa: T201 - our own words
        return 2
    deadline = time.monotonic() + timeout_s
    station.ask()
    if station.wait_until_empty(timeout_s):
        wait_until_heard(deadline - time.monotonic())
        return 0
    print(f"They did not stop within {timeout_s:g} s: {station.present()}", file=sys.stderr)  # noqa: T201 - as above
    return 75


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m diptych_training",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, metavar="FILE", help="a FineTuneJob, as YAML or JSON")
    what.add_argument("--stop", action="store_true", help="ask those who train in this pod to save and stop")
    what.add_argument("--publish", type=Path, metavar="FILE", help="publish the finished run of a FineTuneJob")
    parser.add_argument("--address", help="a Ray cluster: auto or ray://HOST:PORT (default: RAY_ADDRESS, or none)")
    parser.add_argument("--api-server", metavar="URL", help="where reports go (default: the pod's own)")
    parser.add_argument("--account", type=Path, metavar="FOLDER", help="folder with token, ca.crt and namespace")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="longest wait of --stop (600)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
