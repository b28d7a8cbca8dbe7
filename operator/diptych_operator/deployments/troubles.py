"""What is wrong with a deployment: with its applications, its pods, or what was asked of the API server."""

import re
from typing import Final

from diptych_api.deploymentstatus import DeploymentFailure
from diptych_api.errors import DiptychError
from diptych_operator.deployments.look import Look
from diptych_operator.deployments.serving_state import Application, ServingState
from diptych_operator.pod_failures import PodFailure, why_ended, why_waiting

HINTS: Final = {
    "SpecInvalid": "Correct the field and apply the deployment again.",
    "BaseInvalid": "Check spec.base: the files, the revision and the checksum.",
    "AdapterInvalid": "Check the adapter's uri, its digest and the base that it belongs to.",
    "HubAuth": "Accept the licence on the hub and name a Secret with a token in spec.base.huggingFace.token.",
    "UnsupportedHere": "Leave the field out, or use another image.",
    "GpuOutOfMemory": "Lower maxRows, slots or maxRank, set dtype to fp16, or ask for a larger pods.gpuType.",
    "OOMKilled": "Raise resources.memory.",
    "DeployFailed": "Read the log of the head and the workers: kubectl logs -l diptych.dev/deployment=NAME.",
    "Unhealthy": "Read the log of the head and the workers: kubectl logs -l diptych.dev/deployment=NAME.",
}
NAMED: Final = re.compile(
    r"\b(?:diptych_api\.errors\.)?(BaseInvalid|AdapterInvalid|HubAuth|UnsupportedHere|SpecInvalid)\b"
)
OURS: Final = re.compile(r"^diptych_api\.errors\.([A-Z]\w+): (\S.*)$", re.MULTILINE)
"""An error of ours at the end of a traceback. Behind it may follow the same once more, cut off."""
NO_MEMORY: Final = re.compile(r"OutOfMemoryError|CUDA out of memory|GpuOutOfMemory")
LONGEST_MESSAGE: Final = 2048
LONGEST_NAME: Final = 253
EXIT_CODES: Final = range(-255, 256)


def waiting(look: Look, *, serves: bool) -> PodFailure | None:
    """Return what keeps pods from running. Old Events are believed only while nothing is served."""
    state = look.state
    troubles = () if serves else look.seen.troubles
    found = why_waiting([pod for pod in look.seen.pods if not pod.deleting], troubles)
    if found is None and state is not None and state.replica_failure and not serves:
        return PodFailure("CreateFailed", state.replica_failure)
    return found


def failure(look: Look, *, serves: bool) -> DeploymentFailure | None:
    """Return what went wrong last; what was known is kept while nothing new is."""
    known, state = look.status.last_failure, look.state
    if state is None:
        return known
    found = _invalid(state) or (None if serves else _broken(state) or _ended(look))
    return known if found is None else _dated(found, known, look)


def of_error(error: DiptychError, look: Look) -> DeploymentFailure:
    """Return an error of ours as a failure."""
    found = _failure(error.reason, error.message, hint=error.hint)
    return _dated(found, look.status.last_failure, look)


def _dated(found: DeploymentFailure, known: DeploymentFailure | None, look: Look) -> DeploymentFailure:
    """Return a failure with the time when it was first seen."""
    if known is not None and known.model_copy(update={"time": None}) == found:
        return known
    return found.model_copy(update={"time": look.now.replace(microsecond=0)})


def _invalid(state: ServingState) -> DeploymentFailure | None:
    return _failure("SpecInvalid", f"KubeRay refuses the RayService: {state.invalid}") if state.invalid else None


def _broken(state: ServingState) -> DeploymentFailure | None:
    broken = next((application for application in state.newest if application.is_broken), None)
    if broken is None:
        return None
    if said := OURS.findall("\n".join([broken.message, *broken.messages.values()])):
        reason, message = said[-1]
        return _failure(reason, message, hint=HINTS.get(reason, HINTS["DeployFailed"]))
    told = _told(broken)
    reason = "DeployFailed" if broken.status == "DEPLOY_FAILED" else "Unhealthy"
    if NO_MEMORY.search(told):
        reason = "GpuOutOfMemory"
    elif named := NAMED.search(told):
        reason = named[1]
    return _failure(reason, told or f"Application {broken.name} is {broken.status}.")


def _told(broken: Application) -> str:
    """Return what Ray Serve says. The end of a traceback says most, so of long texts that is kept."""
    texts = [broken.message, *(f"{name}: {text}" for name, text in broken.messages.items())]
    return " ".join(" ".join(text.split()) for text in texts if text)[-LONGEST_MESSAGE:]


def _ended(look: Look) -> DeploymentFailure | None:
    ended = why_ended(look.seen.pods)
    if ended is None:
        return None
    code = ended.exit_code if ended.exit_code in EXIT_CODES else None
    found = _failure(ended.reason, ended.message, hint=HINTS.get(ended.reason, ended.hint))
    return found.model_copy(update={"pod": ended.pod[:LONGEST_NAME], "exit_code": code})


def _failure(reason: str, message: str, *, hint: str = "") -> DeploymentFailure:
    return DeploymentFailure(reason=reason, message=message[:LONGEST_MESSAGE], hint=hint or HINTS.get(reason, ""))
