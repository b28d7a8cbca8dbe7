"""The children of a deployment besides its RayService: they come and go without touching what draws."""

from typing import Final

from diptych_api.names import POD_ACCOUNT
from diptych_operator.child import Child, settle
from diptych_operator.deployments.found_adapters import served
from diptych_operator.deployments.look import Look
from diptych_operator.kinds import SERVICE_ACCOUNT, Kind, Manifest, ref_of
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.budget import disruption_budget
from diptych_operator.manifests.deployment_policy import deployment_policy
from diptych_operator.manifests.httproute import http_route
from diptych_operator.manifests.ingress import ingress
from diptych_operator.plan import Action

OWN_ACCOUNT: Final[tuple[Kind, str]] = (SERVICE_ACCOUNT, POD_ACCOUNT)


def surroundings(look: Look) -> tuple[Action, ...]:
    """Return what brings account, policy, budget and routes to where they should be. Raises SpecInvalid."""
    seen, deployment = look.seen, look.deployment
    known = look.status.ray_service_name is not None
    places = [adapter.uri for adapter in served(look.adapters) if adapter.uri is not None]
    policy = deployment_policy(deployment, look.defaults, places) if look.defaults.network_policies else None
    wanted: tuple[tuple[Child | None, Manifest | None], ...] = (
        (seen.policy, policy),
        (seen.budget, disruption_budget(deployment)),
        (seen.ingress, ingress(deployment)),
        (seen.route, http_route(deployment) if look.defaults.gateway_api else None),
    )
    actions = [action for child, manifest in wanted for action in _settled(look, child, manifest, known=known)]
    return (*_account(look), *actions)


def _settled(look: Look, child: Child | None, wanted: Manifest | None, *, known: bool) -> tuple[Action, ...]:
    """Return what makes, mends or takes away a child. One of somebody else stays as it is."""
    uid = look.deployment.metadata.uid
    if child is not None and child.owner_uid != uid:
        return ()
    if wanted is None:
        return () if child is None or child.deleting else (child.delete,)
    return settle(child, wanted, known=known)


def _account(look: Look) -> tuple[Action, ...]:
    """Return what makes the account that engines run under, which may do nothing. Jobs share it."""
    found = {child.ref: child for child in look.seen.accounts}
    namespace = look.deployment.metadata.namespace or ""
    wanted = [ref_of(one) for one in accounts(namespace)]
    pairs = zip(wanted, accounts(namespace), strict=True)
    own = [manifest for ref, manifest in pairs if (ref.kind, ref.name) == OWN_ACCOUNT]
    return tuple(action for one in own for action in settle(found.get(ref_of(one)), one))
