"""Digests that name weights, files and folders: SHA-256, equal exactly when the content is."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def weights_digest(module_or_state: nn.Module | Mapping[str, Tensor]) -> str:
    """Return the digest of named tensors, whatever their order, device and memory layout.

    Name, dtype, shape and every bit count; so the same weights in bfloat16 have another digest.
    """
    state = module_or_state.state_dict() if isinstance(module_or_state, nn.Module) else module_or_state
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the digest of the relative names and bytes of all files below a folder, hidden ones left out."""
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
        if not any(part.startswith(".") for part in name.split("/")):
            digest.update(json.dumps([name, file_digest(folder / name)]).encode())
    return digest.hexdigest()
