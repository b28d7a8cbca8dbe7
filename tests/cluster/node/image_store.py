"""The images of a node: made here or taken from buildah's storage, since there is no registry."""

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.node import oci
from cluster.node.commands import output
from cluster.node.namespaces import Namespaces
from diptych_api.errors import RunFailed

BY_DIGEST = "sha256:"
CONTENT = "io.containerd.content.v1.content"


class ImageStore:
    """What containerd holds. It stays in its folder over restarts of the node."""

    def __init__(self, namespaces: Namespaces, folder: Path) -> None:
        self.namespaces = namespaces
        self.folder = folder

    @property
    def root(self) -> Path:
        """Return the folder that is containerd's own."""
        return self.folder / "containerd"

    def load(self, reference: str) -> None:
        """Bring an image of buildah's into the node, unless it is there.

        Layers go as they are: to compress them takes longer than all the rest. Their copies on the way go
        once they are sent, and links to containerd's own take their places: by them skopeo knows what to leave out.
        """
        layout = self.folder / "layouts" / reference.replace("/", "_").replace(":", "_")
        layout.mkdir(parents=True, exist_ok=True)
        (layout / "index.json").unlink(missing_ok=True)  # it would keep the name of what this image replaces
        source, target = f"containers-storage:{reference}", f"oci:{layout}:latest"
        copy = ["skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", source, target]
        output(copy, hint="Build the images: `make images`.")
        image = oci.from_layout(reference, layout)
        self.add([image])
        shutil.rmtree(layout / "blobs")
        for digest in image.blobs:
            link = oci.blob_path(layout, digest)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(self.root / CONTENT / oci.blob_path(Path(), digest))

    def add(self, images: Sequence[oci.Image]) -> None:
        """Bring images into the node, unpacked. What it has already is not sent again."""
        held = self._held()
        missing = [image for image in images if (image.reference, image.digest) not in held]
        if not missing:
            return
        known = set(self._ctr("content", "list", "--quiet").split())
        command = self.namespaces.inside("ctr", "--namespace=k8s.io", "images", "import", "-")
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe) as ctr:
            assert ctr.stdin
            assert ctr.stderr
            with contextlib.suppress(BrokenPipeError), ctr.stdin:  # what it says of itself says more
                oci.send(missing, known, ctr.stdin)
            said = ctr.stderr.read().decode(errors="replace")
        if ctr.returncode:
            raise RunFailed(f"containerd did not take {', '.join(each.reference for each in missing)}: {said.strip()}")
        self._forget_replaced()

    def _forget_replaced(self) -> None:
        """Give up the second names, by digest, of images that have lost their first one: so their layers may go."""
        held = self._held()
        named = {digest for name, digest in held if not name.startswith(BY_DIGEST)}
        if replaced := [name for name, digest in held if name.startswith(BY_DIGEST) and digest not in named]:
            self._ctr("images", "remove", *replaced)

    def _held(self) -> set[tuple[str, str]]:
        lines = self._ctr("images", "list").splitlines()[1:]
        return {(name, digest) for name, _, digest, *_ in map(str.split, lines)}

    def _ctr(self, *arguments: str) -> str:
        return self.namespaces.run("ctr", "--namespace=k8s.io", *arguments)
