"""What a folder is, by the files at its top."""

from collections.abc import Callable
from typing import Final

from diptych_api.runstore import ARTIFACT_FILE

INDEX: Final = "model_index.json"
"""What a pipeline's folder has at its top."""
PARITY: Final = "parity.json"
"""What a folder of graphs for ONNX Runtime has there, last of all."""


def holds_forms(has: Callable[[str], bool]) -> bool:
    """Return whether a folder is an artifact with a folder for each form, as far as ``has`` tells of its files.

    A pipeline that was published has its parts at the top, beside the artifact's record.
    """
    return has(ARTIFACT_FILE) and not has(INDEX)
