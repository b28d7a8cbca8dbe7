"""Tells a story to its end, whatever happens to the operator: it is started again as Kubernetes would."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cluster.proxy import Proxy
from cluster.rest import Rest
from diptych_api.errors import RunFailed
from support.masking import masked_namespace
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.waiting import until
from support.workloads import Steps, Wanted

STEP_S = 180
Look = Callable[[Rest, str], dict[str, Any]]
QUIET_S = 1.5


def tell(steps: Steps, operator: OperatorProcess) -> None:
    """Act step by step. Raises AssertionError when a step does not come true."""
    for wanted in steps:
        until(while_alive(operator, wanted), STEP_S)


def must_end(stage: Stage, operator: OperatorProcess, end: dict[str, Any], look: Look = masked_namespace) -> None:
    """Wait until a namespace looks as at another end. Raises AssertionError with what differs."""

    def differs() -> list[tuple[str, Any, Any]]:
        found = look(stage.api, stage.namespace)
        return [(key, found.get(key), end.get(key)) for key in {*found, *end} if found.get(key) != end.get(key)]

    with suppress(AssertionError):
        until(while_alive(operator, lambda: not differs()), STEP_S)
    wrong = differs()
    assert not wrong, wrong


def at_rest(proxy: Proxy, quiet_s: float = QUIET_S) -> None:
    """Wait until the operator has written nothing for a while."""
    until(lambda: time.monotonic() - proxy.last_write > quiet_s)


def while_alive(operator: OperatorProcess, wanted: Wanted) -> Callable[[], bool]:
    """Return a condition that starts the operator again whenever it is looked at and finds it ended."""

    def check() -> bool:
        if not operator.is_running:
            try:
                operator.start(leading=False)
            except RunFailed:  # killed again, before it could say that it is ready
                return False
        return wanted()

    return check
