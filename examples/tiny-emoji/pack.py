"""Put a trained base into the package: the run's pipeline folder, its weights as fp16 to keep the package small.

python pack.py RUN/artifact/pipeline ../../diffusion/diptych_diffusion/bases/tiny_emoji
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def pack(source: Path, target: Path) -> int:
    """Copy the folder with fp16 weights; return the bytes of all weights."""
    shutil.rmtree(target, ignore_errors=True)
    size = 0
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "config.json":
            copy.write_text(_without_its_folder(path))
        elif path.suffix != ".safetensors":
            shutil.copyfile(path, copy)
        else:
            tensors = {k: t.half() if t.is_floating_point() else t for k, t in load_file(path).items()}
            save_file({k: t.contiguous() for k, t in tensors.items()}, copy, metadata={"format": "pt"})
            copy.chmod(0o644)
            size += copy.stat().st_size
    return size


def _without_its_folder(config: Path) -> str:
    fields = json.loads(config.read_text())
    fields.pop("_name_or_path", None)
    return json.dumps(fields, indent=2) + "\n"


def main() -> None:
    """Pack and say how large it became."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    print(f"{args.target}: {pack(args.source, args.target) / 2**20:.1f} MiB of weights")


if __name__ == "__main__":
    main()
