"""Text of people reaches the API server letter by letter, whatever it is made of."""

import asyncio

import pytest

from cluster.control_plane import ControlPlane
from diptych_operator.kinds import SERVICE_ACCOUNT, Manifest, ref_of
from diptych_operator.kube import Kube, connect

pytestmark = pytest.mark.integration
TEXTS = {
    "emoji": "a \U0001f34e and \U0001f469\u200d\U0001f3a8",
    "controls": "delete \x7f, next line \x85, a C1 \x9c, a tab\tand a newline\n",
    "separators": "\u2028 \u2029 \ufeff \uffff \U0001fffe",
    "escapes": '\\ud83d\\ude00 \\n "quoted" {{json}} %s: [yaml] # not: a comment',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_server_side_apply_keeps_every_letter(control_plane: ControlPlane, namespace: str, text: str) -> None:
    account: Manifest = {
        "apiVersion": SERVICE_ACCOUNT.api_version,
        "kind": SERVICE_ACCOUNT.kind,
        "metadata": {"name": "told", "namespace": namespace, "annotations": {"example.org/text": text}},
    }

    async def applied() -> Manifest | None:
        kube = Kube(await connect(control_plane.admin_kubeconfig))
        try:
            await kube.apply(account)
            return await kube.get(ref_of(account))
        finally:
            await kube.close()

    kept = asyncio.run(applied())
    assert kept is not None
    assert kept["metadata"]["annotations"]["example.org/text"] == text
