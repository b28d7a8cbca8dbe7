"""What KubeRay says of RayJobs and RayServices while the tests run, for tests/cluster/recorded.

``DIPTYCH_E2E_RECORD=FOLDER make e2e`` keeps every status; ``python -m e2e.recording FOLDER`` makes lives of them.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.objects import Values
from cluster.tools import find

LONGEST = 200
KINDS = ("rayjobs", "rayservices")


@contextmanager
def recorded(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """Keep what is told of KubeRay's objects for the time of the body; a watch that the API server ends begins anew."""
    folder.mkdir(parents=True, exist_ok=True)
    program = f"{find('kubectl')} --kubeconfig={kubeconfig} get $0 -A --watch -o json"
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            file = stack.enter_context((folder / f"{kind}.json").open("ab"))
            command = ["bash", "-c", f"while :; do {program}; sleep 1; done", kind]
            watching = stack.enter_context(subprocess.Popen(command, stdout=file, start_new_session=True))
            stack.callback(os.killpg, watching.pid, signal.SIGTERM)
        yield


def lives(text: str) -> dict[str, Values]:
    """Return the life of each object in the order of its statuses, as far as the tables need it."""
    found: dict[str, Values] = {}
    for each in _objects(text):
        meta, status = each["metadata"], each.get("status") or {}
        life = found.setdefault(meta["uid"], {"kind": each["kind"], "name": meta["name"], "seen": []})
        known = {"namespace": meta["namespace"], "generation": meta["generation"]}
        seen = {"metadata": known, "status": _shortened(status), "spec": _shape(each["spec"])}
        if status and (not life["seen"] or life["seen"][-1]["status"] != seen["status"]):
            life["seen"].append(seen)
    return found


def _shortened(value: Any) -> Any:
    """Return a status without the ends of long texts, such as logs."""
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shortened(part) for part in value]
    return value[:LONGEST] if isinstance(value, str) else value


def _shape(spec: Values) -> Values:
    """Return what the words of the tables are made of."""
    config = json.loads(spec.get("serveConfigV2") or "{}")
    applications = [
        {"name": each["name"], "deployments": [{"name": part["name"]} for part in each.get("deployments", [])]}
        for each in config.get("applications", [])
    ]
    groups = (spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or {}).get("workerGroupSpecs", [])
    workers = [{"replicas": group.get("replicas", 0)} for group in groups]
    shape: Values = {"rayClusterSpec": {"workerGroupSpecs": workers}}
    return shape | ({"serveConfigV2": json.dumps({"applications": applications})} if applications else {})


def _objects(text: str) -> Iterator[Values]:
    for part in re.split(r"(?<=^\})\n", text, flags=re.MULTILINE):
        if part.strip():
            found = json.loads(part)
            yield from found["items"] if found["kind"] == "List" else [found]


def main(folders: Iterable[str]) -> None:
    """Write the lives of a recording beside it, one file for each object."""
    for folder in map(Path, folders):
        for kind in KINDS:
            found = lives((folder / f"{kind}.json").read_text(encoding="utf-8")).values()
            for number, life in enumerate(found, 1):
                path = folder / f"{number:02}-{life['kind']}-{life['name']}.json"
                path.write_text(json.dumps(life, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
