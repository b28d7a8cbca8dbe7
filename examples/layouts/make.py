"""Make the small data sets beside this file from ../noto: one for each way in which people keep captions.

python examples/layouts/make.py
"""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from PIL.ImageFilter import GaussianBlur

HERE = Path(__file__).parent
NOTO = HERE.parent / "noto"
FRUIT = ("red apple", "green apple", "banana", "pear")
ANIMALS = ("cat face", "dog face", "panda face", "fox face")
SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".png", ".jpeg", ".webp")
OPTIONS: dict[str, dict[str, Any]] = {".webp": {"lossless": True}, ".tiff": {"compression": "tiff_lzw"}}


def pictures() -> dict[str, Image.Image]:
    """Return eight Noto emoji by their names."""
    lines = map(json.loads, (NOTO / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    files = {line["text"]: line["file_name"] for line in lines}
    return {name: Image.open(NOTO / files[name]).convert("RGB") for name in FRUIT + ANIMALS}


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **OPTIONS.get(path.suffix, {}))


def fresh(name: str) -> Path:
    """Return an empty folder."""
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
    return HERE / name


def json_lines(emoji: dict[str, Image.Image]) -> None:
    """Write images/ and manifest.jsonl."""
    root = fresh("json-lines")
    with (root / "manifest.jsonl").open("w", encoding="utf-8") as lines:
        for name, picture in emoji.items():
            path = f"images/{name.replace(' ', '-')}.png"
            save(picture, root / path)
            lines.write(json.dumps({"path": path, "caption": [name, f"a picture of a {name}"]}) + "\n")


def class_folders(emoji: dict[str, Image.Image]) -> None:
    """Write a folder for each class, every format that is read among the pictures."""
    root = fresh("class-folders")
    for (name, picture), suffix in zip(emoji.items(), SUFFIXES, strict=True):
        kind = "ripe_fruit" if name in FRUIT else "animals"
        save(picture, root / kind / f"{name.replace(' ', '-')}{suffix}")


def sidecar(emoji: dict[str, Image.Image]) -> None:
    """Write pictures with captions beside them and pictures with captions in a folder of their own."""
    root = fresh("sidecar")
    (root / "captions").mkdir()
    for name, picture in emoji.items():
        stem = name.replace(" ", "-")
        fruit = name in FRUIT
        save(picture, root / ("images" if fruit else "animals") / f"{stem}.png")
        text = root / ("captions" if fruit else "animals") / f"{stem}.txt"
        text.write_text(f"{name}\na drawing of a {name}\n", encoding="utf-8")


def caption_table(emoji: dict[str, Image.Image]) -> None:
    """Write images/ and captions.csv with three captions a picture."""
    root = fresh("caption-table")
    with (root / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "caption", "kind"])
        for name, picture in emoji.items():
            path = f"{name.replace(' ', '-')}.png"
            save(picture, root / "images" / path)
            captions = (name, f"{name}, emoji", f'"{name}", on white')
            table.writerows([path, caption, "fruit" if name in FRUIT else "animal"] for caption in captions)


def flickr30k(emoji: dict[str, Image.Image]) -> None:
    """Write results.csv as Flickr30k has it: a row without a delimiter is among its faults."""
    root = fresh("flickr30k")
    lines = ["image_name| comment_number| comment"]
    for number, (name, picture) in enumerate(emoji.items()):
        path = f"{1000 + number}.jpg"
        save(picture, root / "flickr30k_images" / path)
        captions = (f"A {name} .", f'A "{name}" , drawn .', f"{name.capitalize()} on white .")
        lines += [f"{path}| {index}| {caption}" for index, caption in enumerate(captions)]
    lines[5] = lines[5].replace("| A", "   A")
    (root / "results.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def hub_dataset(emoji: dict[str, Image.Image]) -> None:
    """Write data/train-00000-of-00001.parquet with pictures in it and a class label."""
    root = fresh("hub-dataset")
    encoded = []
    for picture in emoji.values():
        data = io.BytesIO()
        picture.save(data, "PNG")
        encoded.append({"bytes": data.getvalue(), "path": None})
    kinds = {"_type": "ClassLabel", "names": ["fruit", "animal"]}
    features = {"image": {"_type": "Image"}, "text": {"_type": "Value", "dtype": "string"}, "kind": kinds}
    table = pa.table({"image": encoded, "text": list(emoji), "kind": [int(name in ANIMALS) for name in emoji]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    (root / "data").mkdir()
    pq.write_table(table.replace_schema_metadata(about), root / "data" / "train-00000-of-00001.parquet")


def aspect_buckets(emoji: dict[str, Image.Image]) -> None:
    """Write squares, wide pictures and tall ones: one emoji, two beside each other, two on top of each other."""
    root = fresh("aspect-buckets")
    names = list(emoji)
    with (root / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for number, name in enumerate(names):
            other = names[(number + 1) % len(names)]
            wide, tall = ((1, 1), (2, 1), (1, 2))[number % 3]
            canvas = Image.new("RGB", (64 * wide, 64 * tall), "white")
            canvas.paste(emoji[name], (0, 0))
            if wide + tall > 2:
                canvas.paste(emoji[other], (64 * (wide - 1), 64 * (tall - 1)))
            between = {(1, 1): "", (2, 1): f" beside {other}", (1, 2): f" above {other}"}[wide, tall]
            path = f"images/{number}.png"
            save(canvas, root / path)
            lines.write(json.dumps({"file_name": path, "text": name + between}) + "\n")


def raw(emoji: dict[str, Image.Image]) -> None:
    """Write pictures without captions, as people find them: one saved twice, one tiny, one blurred, one broken."""
    root = fresh("raw")
    for name, picture in emoji.items():
        save(picture, root / f"{name.replace(' ', '_')}.png")
    first, second, third = list(emoji.values())[:3]
    save(first, root / "saved_again.jpg")
    save(second.resize((16, 16)), root / "thumbnail.png")
    save(third.filter(GaussianBlur(4)), root / "IMG_0001.png")
    whole = (root / "pear.png").read_bytes()
    (root / "half_a_download.png").write_bytes(whole[: len(whole) // 2])


if __name__ == "__main__":
    for make in (json_lines, class_folders, sidecar, caption_table, flickr30k, hub_dataset, aspect_buckets, raw):
        make(pictures())
