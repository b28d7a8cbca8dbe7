"""Everything that the watches told of, newest version of each object, and who must be woken by a change of it.

Versions are told for comparing with a fresh list: kopf's own index keeps what vanished while a watch was broken.
Objects are kept as packed JSON, a tenth of what they take as Python values.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from pydantic_core import from_json, to_json

from diptych_operator.child import Trouble
from diptych_operator.kinds import (
    DIFFUSION_DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    RAY_JOB,
    RAY_SERVICE,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Kind,
    Manifest,
    Ref,
    ref_of,
)
from diptych_operator.links import PLANNED, RAY_CLUSTER, Links, links_of
from diptych_operator.passing import differ_in_passing
from diptych_operator.trimming import trimmed
from diptych_operator.version import Version

MOST_TROUBLES: Final = 5000
SHARED: Final = frozenset({SERVICE_ACCOUNT, ROLE, ROLE_BINDING})
"""Children that all jobs and deployments of a namespace have in common."""


class Store:
    """What is known of the cluster. `wake` hears the keys that a change concerns."""

    def __init__(self, wake: Callable[[Ref], None] = lambda _: None) -> None:
        self._objects: dict[Kind, dict[Ref, tuple[str, int, bytes]]] = {}
        """uid, resourceVersion and packed object."""
        self._pods: dict[Ref, set[Ref]] = {}
        self._users: dict[Ref, set[Ref]] = {}
        self._troubles: OrderedDict[tuple[str, str], dict[str, Trouble]] = OrderedDict()
        self._gone: OrderedDict[str, int] = OrderedDict()
        """uids that were deleted lately, and their last versions: an older event does not bring them back.

        A newer one does: whose label is taken away is gone for a watch, and comes back with its label.
        """
        self._wake = wake

    def get(self, ref: Ref) -> Manifest | None:
        """Return an object as `trimmed` left it."""
        kept = self._objects.get(ref.kind, {}).get(ref)
        return None if kept is None else dict(from_json(kept[2]))

    def text(self, ref: Ref) -> bytes | None:
        """Return an object as `trimmed` left it, as JSON."""
        kept = self._objects.get(ref.kind, {}).get(ref)
        return None if kept is None else kept[2]

    def refs(self, kind: Kind) -> list[Ref]:
        """Return which objects of a kind are known."""
        return list(self._objects.get(kind, ()))

    def pods_of(self, owner: Ref) -> list[Manifest]:
        """Return the pods of a job or a deployment."""
        found = (self.get(ref) for ref in sorted(self._pods.get(owner, ())))
        return [pod for pod in found if pod is not None]

    def users_of(self, ref: Ref) -> list[Ref]:
        """Return the resources that name this one, in the order of their names."""
        return sorted(self._users.get(ref, ()))

    def troubles_of(self, namespace: str, name: str) -> tuple[Trouble, ...]:
        """Return what Kubernetes warned of about an object."""
        return tuple(self._troubles.get((namespace, name), {}).values())

    def put(self, found: Manifest) -> None:
        """Take in an object, unless a newer version of it is known."""
        if found["kind"] == EVENT.kind:
            self._trouble(found)
            return
        metadata = found["metadata"]
        ref, uid, version = ref_of(found), metadata["uid"], int(metadata["resourceVersion"])
        known = self._objects.setdefault(ref.kind, {})
        if self._gone.get(uid, -1) >= version or (ref in known and known[ref][1] >= version):
            return
        kept, old = trimmed(found), self.get(ref)
        before, links = self._unlink(ref, old), links_of(kept)
        known[ref] = (uid, version, to_json(kept))
        self._link(ref, links)
        if old is None or not differ_in_passing(old, kept):
            self._wake_for(ref, (*before.wakes, *links.wakes))
        if ref.kind in SHARED and kept["drifted"]:
            self._wake_namespace(ref.namespace)

    def remove(self, ref: Ref, uid: str, version: int = 0) -> None:
        """Drop an object that is gone, unless another of its name took its place. `version` is its last."""
        kept = self._objects.get(ref.kind, {}).get(ref)
        self._gone[uid] = max(version, kept[1] if kept is not None and kept[0] == uid else 0)
        while len(self._gone) > MOST_TROUBLES:
            self._gone.popitem(last=False)
        if kept is not None and kept[0] == uid:
            links = self._unlink(ref, self.get(ref))
            del self._objects[ref.kind][ref]
            self._wake_for(ref, links.wakes)
            if ref.kind in SHARED:
                self._wake_namespace(ref.namespace)

    def deleting(self, ref: Ref, uid: str) -> None:
        """Remember that an object is on its way out, until a watch tells more."""
        kept = self._objects.get(ref.kind, {}).get(ref)
        if kept is not None and kept[0] == uid:
            found = from_json(kept[2])
            found["metadata"].setdefault("deletionTimestamp", "1970-01-01T00:00:00Z")
            self._objects[ref.kind][ref] = (uid, kept[1], to_json(found))

    def version(self, ref: Ref) -> Version | None:
        """Return uid and version of what is known of an object."""
        kept = self._objects.get(ref.kind, {}).get(ref)
        return None if kept is None else Version(kept[0], kept[1])

    def versions(self, kind: Kind) -> dict[Ref, Version]:
        """Return uid and version of everything of a kind."""
        return {ref: Version(kept[0], kept[1]) for ref, kept in self._objects.get(kind, {}).items()}

    def _wake_for(self, ref: Ref, wakes: Iterable[Ref]) -> None:
        followers = (user for user in self._users.get(ref, ()) if user.kind == DIFFUSION_DEPLOYMENT)
        for key in {*wakes, *followers}:
            self._wake(key)

    def _wake_namespace(self, namespace: str) -> None:
        for kind in PLANNED:
            for ref in self.refs(kind):
                if ref.namespace == namespace:
                    self._wake(ref)

    def _link(self, ref: Ref, links: Links) -> None:
        for used in links.uses:
            self._users.setdefault(used, set()).add(ref)
        if ref.kind == POD:
            for owner in links.wakes:
                self._pods.setdefault(owner, set()).add(ref)

    def _unlink(self, ref: Ref, known: Manifest | None) -> Links:
        links = Links() if known is None else links_of(known)
        for table, keys in ((self._users, links.uses), (self._pods, links.wakes)):
            for key in keys:
                if key in table:
                    table[key].discard(ref)
                    if not table[key]:
                        del table[key]
        return links

    def _trouble(self, event: Manifest) -> None:
        about = event.get("involvedObject") or {}
        if event.get("type") != "Warning" or not about.get("name"):
            return
        place = (about.get("namespace", ""), about["name"])
        reason, message = str(event.get("reason", ""))[:64], str(event.get("message", ""))[:1024]
        self._troubles.setdefault(place, {})[reason] = Trouble(about.get("kind", ""), about["name"], reason, message)
        self._troubles.move_to_end(place)
        while len(self._troubles) > MOST_TROUBLES:
            self._troubles.popitem(last=False)
        for key in self._owners_of(*place):
            self._wake(key)

    def _owners_of(self, namespace: str, name: str) -> list[Ref]:
        about = [Ref(kind, namespace, name) for kind in (POD, RAY_JOB, RAY_SERVICE, JOB)]
        about += self.users_of(Ref(RAY_CLUSTER, namespace, name))
        known = (self.get(ref) for ref in about)
        return [owner for found in known if found is not None for owner in links_of(found).wakes]
