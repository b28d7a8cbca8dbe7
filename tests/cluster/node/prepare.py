"""What a node and its tests need, made beforehand: programs, a base for images where none can be pulled, the images."""

import os
import subprocess
from pathlib import Path

from cluster.node.commands import output
from cluster.node.fixtures import is_given
from cluster.node.requirements import require
from cluster.tools import TOOLS, find

IMAGES = Path(__file__).parents[3] / "images"
BASE = "localhost/diptych/base:dev"


def main() -> None:
    """Make what is missing or has changed; nothing where a cluster is given."""
    if is_given():
        return
    require()
    for name in TOOLS:
        find(name)
    if not output(["buildah", "images", "--quiet", "--filter", f"reference={BASE}"]):
        subprocess.run([IMAGES / "local-base.sh", BASE], check=True)
    how = {"BUILDER": "buildah", "BASE_IMAGE": BASE} | os.environ  # the node takes images from where buildah keeps them
    subprocess.run([IMAGES / "build.sh"], env=how, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
