"""What a job will train and learn from, told before it runs: no weight is loaded, nothing is trained."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.components import Components
from diptych_diffusion.skeleton import load_skeleton
from diptych_training.data.manifest import Manifest, prepare
from diptych_training.long_captions import told_long_captions
from diptych_training.memory import Memory, memory_of
from diptych_training.places import localized

GB, MILLION = 1e9, 1e6


def look(given: FineTuneJobSpec, base_dir: Path) -> Mapping[str, str]:
    """Return what a resolved job comes to, by topic.

    Networks are built in their full shape without weights, and go through one forward pass. Of a base on the hub only
    the configs are downloaded; pictures are read where they are on this machine.

    Raises:
        DiptychError: what would end the run.

    """
    spec = localized(given, base_dir)
    with tempfile.TemporaryDirectory(prefix="diptych-") as scratch:
        folder = resolve_base(spec.base, Path(scratch), only_configs=True)
        base = load_skeleton(folder, need_unet=spec.method != "FromScratch")
        facts = _of_the_model(spec, base)
        source = spec.dataset.source.uri
        if source is None or ("://" in source and not source.startswith("file://")):
            return facts | {"pictures": "not looked at: they are not on this machine"}
        manifest = prepare(spec.dataset, Path(scratch), lambda _done, _total: None)
        return facts | _of_the_pictures(spec, base, manifest)


def _of_the_model(spec: FineTuneJobSpec, base: Components) -> dict[str, str]:
    try:
        memory, trainee = memory_of(spec, base)
    except (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError) as cause:
        field = "spec.unet" if spec.method == "FromScratch" else "spec"
        raise SpecInvalid(
            f"{field}: the network cannot be built or run: {cause}", hint="Correct the shape that it names."
        ) from cause
    trained = sum(parameter.numel() for parameter in trainee.parameters.values())
    counted = {"UNet": trainee.unet, "text encoder": base.text_encoder, "VAE": base.vae}
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in counted.items()}
    if spec.method == "LoRA":
        for name, prefix in (("UNet", "unet."), ("text encoder", "text_encoder.")):
            sizes[name] -= sum(p.numel() for key, p in trainee.parameters.items() if key.startswith(prefix))
    return {
        "parameters": " · ".join(f"{name} {_count(count)}" for name, count in sizes.items()),
        "trained": f"{_count(trained)}, {100 * trained / sizes['UNet']:.2f} % of the UNet",
        "memory": _memory(memory, "GPU" if spec.resources.gpus_per_worker else "worker"),
    }


def _memory(memory: Memory, where: str) -> str:
    parts = ("weights", "gradients", "optimizer", "average", "activations")
    listed = ", ".join(f"{name} {getattr(memory, name) / GB:.2f}" for name in parts)
    return f"about {memory.total / GB:.2f} GB for each {where}, {memory.samples} samples at once: {listed}"


def _of_the_pictures(spec: FineTuneJobSpec, base: Components, manifest: Manifest) -> dict[str, str]:
    entries = (*manifest.train, *manifest.held_out)
    captions = sum(len(entry.captions) for entry in entries)
    cut = told_long_captions(base.folder, entries, spec.dataset.caption_policy)
    small = sum(entry.size is not None and min(entry.size) < spec.dataset.image.size for entry in entries)
    pictures = [f"{len(manifest.train):,} to learn from", f"{len(manifest.held_out):,} held out"]
    if manifest.rejected:
        pictures.append(f"{len(manifest.rejected):,} unusable, the first: {manifest.rejected[0]}")
    if small:
        pictures.append(f"{small:,} smaller than {spec.dataset.image.size} px")
    return {"pictures": " · ".join(pictures), "captions": f"{captions:,}" if cut is None else f"{captions:,} · {cut}"}


def _count(number: int) -> str:
    return f"{number / MILLION:,.1f} M" if number >= MILLION else f"{number:,}"
