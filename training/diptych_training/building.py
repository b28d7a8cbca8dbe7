"""From what a worker is told to its training loop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion import prompts
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_diffusion.schedule import NoiseSchedule
from diptych_training.batch import BatchMaker
from diptych_training.cache import caches_text, open_cache
from diptych_training.data.buckets import shapes_of
from diptych_training.data.manifest import Manifest, read
from diptych_training.heap import keep_pages
from diptych_training.letters import Tell
from diptych_training.live import LiveLatents
from diptych_training.loop import Loop
from diptych_training.optim import Average, build_optimizer
from diptych_training.order import Visit, order_of, total_steps
from diptych_training.painting import painter
from diptych_training.sharding import Shards
from diptych_training.share import Share
from diptych_training.trainee import build_trainee


def load_components(share: Share, device: torch.device | str = "cpu") -> Components:
    """Return the base in fp32; its UNet is absent when a new one is trained."""
    return load(share.base_folder, device=device, need_unet=share.spec.method != "FromScratch")


def held_out_visits(spec: FineTuneJobSpec, manifest: Manifest) -> list[Visit]:
    """Return the visits of the validation: the first caption of the first held-out samples."""
    entries = manifest.held_out[: spec.training.validation.max_samples]
    shapes = shapes_of([entry.size for entry in entries], spec.dataset.image)
    return [Visit(entry, entry.captions[0], 0, shapes[i] if shapes else None) for i, entry in enumerate(entries)]


def build_loop(share: Share, device: torch.device, tell: Tell, *, rank: int = 0, world: int = 1) -> Loop:
    """Return the loop of one worker at step 0: the same code in a bare process and under Ray."""
    if device.type == "cpu":
        keep_pages()
    spec, manifest = share.spec, read(share.manifest_folder)
    components = load_components(share)
    trainee = build_trainee(spec, components, device)
    order = order_of(spec, manifest)
    is_sharded = spec.training.sharding != "None" and world > 1
    shards = Shards(trainee.parameters, rank, world) if is_sharded else None
    return Loop(
        training=spec.training,
        trainee=trainee,
        optimizer=build_optimizer(spec, trainee.parameters if shards is None else shards.mine),
        average=Average(spec.training.ema, trainee.parameters),
        maker=batch_maker(share, components, manifest, device),
        order=order,
        held_out=held_out_visits(spec, manifest),
        total_steps=total_steps(spec, len(order)),
        tell=tell,
        rank=rank,
        world=world,
        painter=painter(share, components, trainee, manifest) if rank == 0 else None,
        shards=shards,
        look_every=10 if device.type == "cuda" else 1,
    )


def batch_maker(share: Share, components: Components, manifest: Manifest, device: torch.device) -> BatchMaker:
    """Return what builds batches, with scale, shift and schedule as the base's configs say."""
    spec = share.spec
    has_text, has_pictures = caches_text(spec), spec.training.cache_latents
    cache = open_cache(
        components.digests, manifest, spec.dataset, share.cache_folder, text=has_text, pictures=has_pictures
    )

    def text(captions: Sequence[str]) -> Tensor:
        if spec.trains_text_encoder:
            return prompts.tokenize(components, captions)
        if not has_text:
            return torch.cat([prompts.encode(components, [caption]) for caption in captions]).cpu()
        return torch.stack([cache.text(caption) for caption in captions])

    vae = components.vae.config
    return BatchMaker(
        latents=cache if has_pictures else LiveLatents.of(components, manifest, spec.dataset.image, device),
        schedule=NoiseSchedule.from_config(components.scheduler_config),
        text=text,
        scaling_factor=vae.scaling_factor,
        shift_factor=vae.shift_factor or 0.0,
        seed=spec.training.seed,
        flip=spec.dataset.image.horizontal_flip,
        caption_dropout=spec.training.caption_dropout,
        weighting=spec.training.loss_weighting,
        gamma=spec.training.snr_gamma,
    )
