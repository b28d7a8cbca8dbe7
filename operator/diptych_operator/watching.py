"""Watches, by kopf: every event goes into the store, and nothing else happens in a handler."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import kopf
import structlog
from kubernetes.aio.client import Configuration

from diptych_api.names import MANAGED_BY, OWNER_UID, PRODUCT
from diptych_operator import kinds
from diptych_operator.cluster import Refused, Unreachable
from diptych_operator.forgetting import Forgetful, NoEssence, NoProgress
from diptych_operator.kinds import Kind, Manifest, Ref
from diptych_operator.listing import kind_at, session
from diptych_operator.store import Store

_log = structlog.get_logger()
RECONNECT_S: Final = 0.2
RETRIES_S: Final = (0.5, 1, 2, 3, *[5] * 9)
"""Pauses after failed requests. kopf's own grow to 21 s, in which nothing is heard of an API server that is back."""
END_S: Final = 5.0
"""How long kopf may take to end: when one watch fails for good, others may overhear that they are cancelled."""
PAGE: Final = 100
"""Objects of one answer to a list: what a page takes for a moment stays with the process."""
COSTLY: Final = frozenset({kinds.RAY_JOB, kinds.RAY_SERVICE})
"""Children whose loss ends an attempt or stops a service: a watch tells the loss of a label as their deletion."""
IDLE_S: Final = 0.1
"""How long kopf keeps a task and a queue for an object of which nothing more is heard."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A kind that is watched, and which objects of it the server is to tell of."""

    kind: Kind
    labels: str = ""
    fields: str = ""


def watches(*, gateway_api: bool, heartbeat: str = "") -> tuple[Watch, ...]:
    """Return what the operator watches. Of kinds that others have too, only what is ours.

    `heartbeat` names its Lease, which changes every few seconds: a watch that is quiet cannot be told from a dead one.
    """
    ours = (kinds.FINE_TUNE_JOB, kinds.FINE_TUNE_REPORT, kinds.DIFFUSION_DEPLOYMENT, kinds.DIFFUSION_MODEL)
    children = (kinds.RAY_JOB, kinds.RAY_SERVICE, kinds.JOB, kinds.NETWORK_POLICY, kinds.DISRUPTION_BUDGET)
    routes = (kinds.INGRESS, kinds.HTTP_ROUTE) if gateway_api else (kinds.INGRESS,)
    shared = (kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING)
    return (
        *(Watch(kind) for kind in ours),
        *(Watch(kind, labels=OWNER_UID) for kind in (*children, *routes, kinds.POD)),
        *(Watch(kind, labels=f"{MANAGED_BY}={PRODUCT}") for kind in shared),
        Watch(kinds.EVENT, fields="type=Warning"),
        *((Watch(kinds.LEASE, fields=f"metadata.name={heartbeat}"),) if heartbeat else ()),
    )


class Ears:
    """Hears events and fills the store."""

    def __init__(
        self, store: Store, relisted: Callable[[Kind], None], read: Callable[[Ref], Awaitable[Manifest | None]]
    ) -> None:
        self._store = store
        self.relisted = relisted
        """To be told when a kind was listed anew."""
        self._read = read
        self.heard: dict[Kind, float] = {}
        """When a kind was heard of last, by the monotonic clock."""
        self.lists: set[str] = set()
        """Paths at which kopf listed objects before it watched them."""

    def is_deaf_for(self, kind: Kind) -> bool:
        """Whether kopf has not even listed a kind so far."""
        return all(kind_at(path, (kind,)) is None for path in self.lists)

    async def hear(self, kind: Kind, event: Any) -> None:  # noqa: ANN401 - kopf's raw event
        """Take an event in."""
        found = event["object"]
        if event["type"] != "DELETED":
            await self.take(kind, found)
            return
        self.heard[kind] = time.monotonic()
        metadata = found["metadata"]
        ref = Ref(kind, metadata.get("namespace", ""), metadata["name"])
        if kind not in COSTLY or "deletionTimestamp" in metadata or not await self._is_there(ref, metadata["uid"]):
            self._store.remove(ref, metadata["uid"], int(metadata["resourceVersion"]))

    async def take(self, kind: Kind, found: Manifest) -> None:
        """Take in an object that is there."""
        self.heard[kind] = time.monotonic()
        if kind != kinds.LEASE:
            self._store.put({**found, "apiVersion": kind.api_version, "kind": kind.kind})

    async def _is_there(self, ref: Ref, uid: str) -> bool:
        """Whether an object only lost the label that it is watched by; then it is read. In doubt it is there."""
        try:
            found = await self._read(ref)
        except (Unreachable, Refused):
            self.relisted(ref.kind)  # and looked for again
            return True
        if found is None or found["metadata"]["uid"] != uid:
            return False
        self._store.put(found)
        return True


def registry_for(ears: Ears, watched: Sequence[Watch], configuration: Configuration) -> kopf.OperatorRegistry:
    """Return kopf's registry: a login, and one handler for each kind."""
    registry = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401 - kopf's arguments
        asked, way = [watch.kind for watch in watched], await connection(configuration)
        found: kopf.AiohttpSession = session(way, asked, ears.take, ears.relisted, ears.lists)
        return found

    kopf.on.login(registry=registry, id="login")(login)
    for watch in watched:
        _hear(registry, ears, watch.kind)
    return registry


def _hear(registry: kopf.OperatorRegistry, ears: Ears, kind: Kind) -> None:
    async def heard(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's arguments
        await ears.hear(kind, event)

    kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"hear-{kind.plural}")(heard)


def settings_for(watched: Sequence[Watch], *, cluster_wide: bool) -> kopf.OperatorSettings:
    """Return kopf's settings: selectors for the server, and nothing written to any object."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = not cluster_wide
    settings.watching.chunk_size = PAGE
    settings.watching.reconnect_backoff = RECONNECT_S
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = RETRIES_S
    settings.queueing.idle_timeout = IDLE_S
    settings.persistence.finalizer = "diptych.dev/never"
    settings.persistence.diffbase_storage = NoEssence()
    settings.persistence.progress_storage = NoProgress()
    for watch in watched:
        place = (watch.kind.group, watch.kind.version, watch.kind.plural)
        if watch.labels:
            settings.watching.label_selectors[place] = watch.labels
        if watch.fields:
            settings.watching.field_selectors[place] = watch.fields
    return settings


async def watch(
    ears: Ears,
    watched: Sequence[Watch],
    configuration: Configuration,
    namespaces: Sequence[str],
    stop: asyncio.Event,
    started: Callable[[], None],
) -> None:
    """Run kopf until `stop` is set. It returns or raises earlier when a watch breaks for good.

    `started` is called when kopf runs: by then it has taken SIGTERM and SIGINT for itself.
    """
    memories = Forgetful()
    ready = asyncio.Event()
    # Before kopf starts: it cancels what is younger.
    ending, telling = asyncio.ensure_future(memories.ending.wait()), asyncio.ensure_future(_tell(ready, started))
    running = asyncio.ensure_future(
        kopf.operator(
            registry=registry_for(ears, watched, configuration),
            memories=memories,
            settings=settings_for(watched, cluster_wide=not namespaces),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=tuple(namespaces),
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    try:
        await asyncio.wait((running, ending), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((running,), timeout=END_S)
        if running.done():
            await running
        else:
            _log.error("watches do not end")
    finally:
        for task in (ending, telling, running):
            task.cancel()
        await asyncio.wait((running,), timeout=END_S)


async def _tell(ready: asyncio.Event, started: Callable[[], None]) -> None:
    await ready.wait()
    started()


async def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return how kopf reaches the same API server; the token is read anew each time."""
    headers = await configuration.auth_settings()
    scheme, _, token = str(headers.get("BearerToken", {}).get("value", "")).partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
