"""Bring a base's files to this machine: from the Hugging Face hub by commit, or from an object store."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from diptych_api.artifact import FOLDERS
from diptych_api.errors import BaseInvalid, UnsupportedHere
from diptych_api.sources import HuggingFaceModel
from diptych_diffusion.folder_kinds import INDEX, holds_forms
from diptych_diffusion.hub import COMPLETE, Repository
from diptych_diffusion.object_store import file_system
from diptych_diffusion.store_copy import download, refusals

WANTED: Final = re.compile(
    r"((unet|vae|text_encoder|tokenizer|scheduler)/)?[A-Za-z0-9_][A-Za-z0-9._-]*\.(safetensors|json|txt)"
)
CHECKED: Final = re.compile(r"(safety_checker|feature_extractor)/[A-Za-z0-9_][A-Za-z0-9._-]*\.(safetensors|json)")
COMPLETE_WITH_CHECKER: Final = ".complete-with-checker"
VERSION_KEYS: Final = ("size", "ETag", "etag", "blob_id", "created", "mtime", "last_modified", "LastModified")
"""What stores tell of a file's state, each in its own words."""


def wanted_files(names: Iterable[str], *, with_checker: bool = False) -> list[str]:
    """Return the names that a pipeline needs: JSON and text, and of each part's weights the best safetensors variant.

    Weights beside model_index.json are other tools' checkpoints, non_ema weights are for going on with their training.
    The safety checker, of more than a gigabyte, is for serving alone.
    """
    kinds = (WANTED, CHECKED) if with_checker else (WANTED,)
    known = {name for name in names if any(kind.fullmatch(name) for kind in kinds) and ".non_ema." not in name}
    full = {name for name in known if ".fp16" not in name}
    weights_in = {name.split("/")[0] for name in full if "/" in name and name.endswith(".safetensors")}
    chosen = {name for name in known if name in full or name.split("/")[0] not in weights_in}
    return sorted(name for name in chosen if "/" in name or not name.endswith(".safetensors"))


def from_hub(
    model: HuggingFaceModel, cache_dir: Path, *, with_checker: bool = False, only_configs: bool = False
) -> Path:
    """Return the folder of a repository at a commit; a complete copy is used without asking the hub again.

    With ``only_configs`` the weights stay where they are, and the copy is not complete.
    """
    folder = cache_dir / "hub" / model.repo.replace("/", "--") / model.revision
    markers = [COMPLETE_WITH_CHECKER] if with_checker else [COMPLETE, COMPLETE_WITH_CHECKER]
    if any((folder / marker).exists() for marker in markers):
        return folder
    repository = Repository("model", model.repo, model.revision, model.token, BaseInvalid)
    names = wanted_files(repository.sizes(), with_checker=with_checker)
    if INDEX not in names:
        raise BaseInvalid(f"{model.repo} at {model.revision} has no model_index.json: it is not a diffusers pipeline.")
    if only_configs:
        repository.download(folder, [name for name in names if not name.endswith(".safetensors")])
        return folder
    repository.download(folder, names)
    (folder / markers[0]).touch()
    return folder


def from_store(uri: str, cache_dir: Path, *, with_checker: bool = False) -> Path:
    """Return a local copy of a pipeline folder in an object store; made anew when a name, size or version changes."""
    if uri.partition("://")[0] in {"http", "hf"}:
        raise UnsupportedHere(
            f"A base at {uri} cannot be read yet.",
            hint="Download and unpack it, and give the folder; or use huggingFace.",
        )
    with refusals(uri, BaseInvalid):
        return _copy(uri, cache_dir / "store", with_checker=with_checker)


def _copy(uri: str, cache_dir: Path, *, with_checker: bool) -> Path:
    files, root = file_system(uri)
    if holds_forms(lambda name: files.exists(f"{root}/{name}")):
        root = f"{root}/{FOLDERS['Pipeline']}"
    by_name = {path.removeprefix(root).lstrip("/"): entry for path, entry in files.find(root, detail=True).items()}
    names = wanted_files(by_name, with_checker=with_checker)
    if INDEX not in names:
        raise BaseInvalid(f"{uri} has no model_index.json.", hint="Give the folder of a diffusers pipeline.")
    state = [[name, *(str(by_name[name].get(key)) for key in VERSION_KEYS)] for name in names]
    folder = cache_dir / hashlib.sha256(json.dumps([uri, state]).encode()).hexdigest()[:32]
    if not folder.exists():
        download(files, {name: str(by_name[name]["name"]) for name in names}, folder)
    return folder
