"""Who used the cores while something was measured: the operator, the API server, etcd and the load itself."""

import os
from collections.abc import Mapping

from cluster.control_plane import ControlPlane
from diptych_bench.operator_process import OperatorProcess
from diptych_bench.processes import cpu_seconds, tree


def cpu_by_part(plane: ControlPlane, operator: OperatorProcess) -> dict[str, float]:
    """Return the seconds of CPU that each part has used since its start."""
    servers = {"operator": operator.server, "API server": plane.apiserver.server, "etcd": plane.etcd.server}
    pids = {name: server.process.pid for name, server in servers.items() if server.process} | {"load": os.getpid()}
    return {name: sum(cpu_seconds(tree(pid)[:1]).values()) for name, pid in pids.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each part has used between two looks."""
    return {name: round(after[name] - before[name], 2) for name in before}
