"""Make the two picture folders: Twemoji for the base, Noto for the example.

    npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0
    (unpack each tarball; they hold img/<style>/64/*.png and emoji.json)
    python pictures.py --twitter DIR --google DIR --out DIR

Writes OUT/twemoji (every animal and food), OUT/noto (240 of the same), each an ImageFolder with
metadata.jsonl, and OUT/all.npz (every emoji but flags, both styles, for the VAE).
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = ("Animals & Nature", "Food & Drink")
NOTO_COUNT, HELD_OUT = 240, 40
STYLES = ("twitter", "google")


def order(key: str, seed: int) -> str:
    """Return the sort key that Diptych's own seeded split uses for the sample ``key``."""
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()


def read(root: Path, style: str, name: str) -> Image.Image:
    """Return one 64x64 picture, its transparency laid on white."""
    with Image.open(root / "img" / style / "64" / name) as picture:
        rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def write_folder(root: Path, pictures: list[tuple[str, str, Image.Image]]) -> None:
    """Write ``(file name, caption, picture)`` as an ImageFolder with metadata.jsonl."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    with (root / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for name, caption, picture in pictures:
            picture.save(root / "images" / name, optimize=True)
            lines.write(json.dumps({"file_name": f"images/{name}", "text": caption}) + "\n")


def main() -> None:
    """Read the unpacked npm packages, write the folders and the array."""
    parser = argparse.ArgumentParser(description=__doc__)
    for style in STYLES:
        parser.add_argument(f"--{style}", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    roots = {style: getattr(args, style) for style in STYLES}
    emoji = json.loads((roots["twitter"] / "emoji.json").read_text())
    emoji = [e for e in emoji if e["has_img_twitter"] and e["has_img_google"] and e["category"] != "Flags"]

    chosen = [e for e in emoji if e["category"] in CATEGORIES]
    noto = sorted(chosen, key=lambda e: order(e["image"], 0))[:NOTO_COUNT]
    for folder, style, members in (("twemoji", "twitter", chosen), ("noto", "google", noto)):
        write_folder(
            args.out / folder,
            [(e["image"], e["name"].lower(), read(roots[style], style, e["image"])) for e in members],
        )

    held = {e["image"] for e in sorted(noto, key=lambda e: order(f"images/{e['image']}", 0))[:HELD_OUT]}
    others = [e["image"] for e in emoji if e["category"] not in CATEGORIES]
    held_both = set(sorted(others, key=lambda name: order(name, 1))[:30])
    rows = [(s, e["image"]) for s in STYLES for e in emoji]
    is_held = [(s == "google" and name in held) or name in held_both for s, name in rows]
    np.savez_compressed(
        args.out / "all.npz",
        pictures=np.stack([np.asarray(read(roots[s], s, name)) for s, name in rows]),
        held=np.asarray(is_held),
    )


if __name__ == "__main__":
    main()
