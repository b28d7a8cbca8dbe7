"""Pictures of a reply as named files."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

BASE: Final = "base"
LONGEST: Final = 30
UNSAFE: Final = re.compile(r"[^\w.]+")


def file_name(prompt: str, side: str, seed: int, form: str = "png") -> str:
    """Return such as red-apple_noto_7.png: the first 30 characters of the prompt, the side, the seed."""
    return f"{_safe(prompt[:LONGEST]) or 'picture'}_{_safe(side) or 'side'}_{seed}.{form}"


def side_of(image: Mapping[str, Any]) -> str:
    """Return the name of a side of a reply, as it stands over its picture."""
    if image["degraded"]:
        return f"{BASE} instead of {image['requested_adapter']}"
    if image["adapter"] is None:
        return BASE
    return str(image["adapter"]) + ("" if image["strength"] == 1 else f":{image['strength']:g}")


def write_pictures(folder: Path, prompt: str, images: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Write the pictures of a reply, each under its own name; return paths and sides."""
    written = []
    for name, image in zip(_different(prompt, images), images, strict=True):
        path = folder / name
        path.write_bytes(base64.b64decode(image["image"]))
        written.append((str(path), side_of(image)))
    return written


def write_previews(folder: Path, step: int, images: Iterable[str], sides: Sequence[str]) -> list[tuple[str, str]]:
    """Write the pictures of a preview; return paths and sides."""
    written = []
    for number, (image, side) in enumerate(zip(images, sides, strict=False)):
        path = folder / f"preview-{step}-{number}.png"
        path.write_bytes(base64.b64decode(image))
        written.append((str(path), side))
    return written


def _different(prompt: str, images: Sequence[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for image in images:
        name, number = file_name(prompt, side_of(image), image["seed"], image["format"]), 2
        while name in names:
            name = file_name(prompt, f"{side_of(image)}-{number}", image["seed"], image["format"])
            number += 1
        names.append(name)
    return names


def _safe(text: str) -> str:
    return UNSAFE.sub("-", text).strip("-._")
