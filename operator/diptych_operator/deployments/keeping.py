"""What stays as it was decided when the RayService was made, though image, defaults or rendering are others today."""

from typing import Any, Final

from diptych_api.serveconfig import APPLICATION, ENGINE, GATEWAY, JOBS, PAGE, REGISTRY
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.rayservice import PODS_ANNOTATION
from diptych_operator.manifests.serve_text import serve_text, serve_values

SCALES: Final = ("num_replicas", "autoscaling_config")
FOLLOWED: Final = {
    REGISTRY: ("user_config",),
    GATEWAY: ("graceful_shutdown_timeout_s",),
    JOBS: ("graceful_shutdown_timeout_s",),
    ENGINE: ("graceful_shutdown_timeout_s", *SCALES),
    PAGE: ("user_config",),
}
"""Options of deployments that change while serving; all others are the rendering's."""


def pods_mark(manifest: Manifest | None) -> str:
    """Return the hash of what the pods of a RayService are made of; empty when that is not known."""
    annotations = (manifest or {}).get("metadata", {}).get("annotations") or {}
    return str(annotations.get(PODS_ANNOTATION, ""))


def keep(wanted: Manifest, applied: Manifest | None) -> Manifest:
    """Return the wanted RayService with the pods of the one that was applied, where the spec asks for no others.

    Then the cluster's part is word for word as before. Of Ray Serve's configuration the arguments are the wanted ones,
    without those that are defaults, and so is what changes while serving.
    """
    if applied is None or pods_mark(applied) != pods_mark(wanted):
        return wanted
    before, spec = applied["spec"], wanted["spec"]
    kept = {part: before[part] for part in ("rayClusterConfig", "serveService") if part in before}
    text = _kept_text(spec["serveConfigV2"], str(before.get("serveConfigV2", "")))
    return {**wanted, "metadata": applied["metadata"], "spec": {**spec, **kept, "serveConfigV2": text}}


def _kept_text(wanted: str, applied: str) -> str:
    new, old = serve_values(wanted), serve_values(applied)
    if new is None or old is None:
        return wanted
    known = {application["name"]: application for application in old.get("applications", [])}
    applications = [_kept_application(application, known) for application in new["applications"]]
    return serve_text({**old, "applications": applications})


def _kept_application(wanted: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    old = known.get(wanted["name"])
    if old is None:
        return wanted
    if wanted["name"] != APPLICATION:
        return old
    new = {deployment["name"]: deployment for deployment in wanted["deployments"]}
    kept = [_kept_deployment(one, new) for one in old["deployments"] if one["name"] in new or one["name"] != PAGE]
    there = {deployment["name"] for deployment in kept}
    page = [new[PAGE]] if PAGE in new and PAGE not in there else []
    return {**old, "args": wanted["args"], "deployments": [*kept, *page]}


def _kept_deployment(old: dict[str, Any], new: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a deployment with its options in their old places: what is equal must be the same text."""
    followed, wanted = FOLLOWED.get(old["name"], ()), new.get(old["name"], {})
    kept = {option: value for option, value in old.items() if option not in followed or option in wanted}
    return kept | {option: wanted[option] for option in followed if option in wanted}
