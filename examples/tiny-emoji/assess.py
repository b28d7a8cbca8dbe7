"""Measure how good the ``tiny-emoji`` base is, and what fine-tuning on Noto did.

    python assess.py BASE --pictures OUT --out assessment
    python assess.py BASE --run RUN --nearer ../twemoji-held-out

BASE is the folder of the pipeline, OUT what pictures.py wrote, RUN the folder of a finished run. Prints a table and
writes assessment.json, and with --pictures montage.png, to the --out folder.

Asked of the base: the VAE's PSNR on the pictures that it never saw; and for 100 captions of the training set with
fixed seeds, how often the training picture nearest to what is drawn (16x16 colour thumbnails) is the caption's own.
Asked of a run: how many of its pictures are nearer to Noto's version of the emoji than to Twemoji's, all of them seen
through the base's VAE, by style and by thumbnail; see diptych_training.distances.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych_api.dataset import Image
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.runstore import EVALUATION, EVALUATION_FILE
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_diffusion.sampler import SampleRequest, sample
from diptych_training.data.picture import read_picture
from diptych_training.distances import Picture, Pictures, nearest, psnr, thumbnails
from diptych_training.grids import montage
from diptych_training.measure import captioned_pictures, through_vae
from diptych_training.metrics import RIVAL_METRICS, Evidence

IMAGE = Image(size=64)
CAPTIONS, ORDER_SEED, FIRST_SEED = 100, 7, 7000
SHOWN = 40
Figures = dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the base draws."""

    steps: int
    guidance_scale: float


def assess_vae(base: Components, archive: Path) -> Figures:
    """Return the mean PSNR on the held-out pictures of ``all.npz``."""
    with np.load(archive) as arrays:
        pictures = arrays["pictures"][arrays["held"]]
    decibels = psnr(pictures, through_vae(base, pictures))
    return {"vae_psnr_db": float(np.mean(decibels)), "vae_psnr_db_worst": min(decibels), "vae_pictures": len(pictures)}


def assess_recall(base: Components, folder: Path, sampling: Sampling, out: Path) -> Figures:
    """Return how often the nearest training picture is the right one, and write the montage."""
    training = captioned_pictures(folder, IMAGE)
    chosen = sorted(training, key=lambda text: hashlib.sha256(f"{ORDER_SEED}/{text}".encode()).hexdigest())[:CAPTIONS]
    request = SampleRequest(
        prompts=tuple(chosen),
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + len(chosen))),
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
    )
    drawn = sample(base, request, lambda done, of: print(f"\rdrawing {done}/{of}", end="", flush=True))
    print()
    references = list(training)
    found = nearest(thumbnails(drawn), thumbnails(np.stack([training[text] for text in references])))
    wrong = [f"{text} -> {references[i]}" for text, i in zip(chosen, found, strict=True) if references[i] != text]
    montage(list(drawn[:SHOWN]), chosen[:SHOWN]).save(out / "montage.png", optimize=True)
    return {
        "nearest_is_right": 1 - len(wrong) / len(chosen),
        "captions": len(chosen),
        "training_pictures": len(training),
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "first_seed": FIRST_SEED,
        "wrong": "; ".join(wrong),
    }


def assess_run(base: Components, run: Path, rivals: Mapping[str, Picture]) -> Figures:
    """Return the shares of a run's pictures that are nearer to the real picture than to its rival."""
    folder = run / EVALUATION
    report = EvaluationReport.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    pairs = [pair for pair in report.pairs if pair.prompt in rivals and pair.real and pair.base and pair.tuned]
    if not pairs:
        raise SystemExit(f"{folder} has no pictures whose captions the --nearer folder knows.")

    def side(name: str) -> Pictures:
        return np.stack([read_picture(folder / getattr(pair, name), IMAGE) for pair in pairs])

    evidence = Evidence(
        prompts=tuple(pair.prompt for pair in pairs),
        tuned=side("tuned"),
        base=side("base"),
        real=through_vae(base, side("real")),
        rival=through_vae(base, np.stack([rivals[pair.prompt] for pair in pairs])),
    )
    figures: Figures = {"pairs": len(pairs)}
    for name, metric in RIVAL_METRICS.items():
        result = metric(evidence).result
        figures |= {f"{name}.base": result.base or 0.0, f"{name}.tuned": result.tuned or 0.0}
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base's pipeline")
    parser.add_argument("--pictures", type=Path, help="folder that pictures.py wrote")
    parser.add_argument("--run", type=Path, help="folder of a finished run")
    parser.add_argument("--nearer", type=Path, default=Path(__file__).parents[1] / "twemoji-held-out")
    parser.add_argument("--out", type=Path, default=Path("assessment"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0)
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    base = load(args.base)
    figures: Figures = {"base_digest": base.digest}
    if args.pictures:
        figures |= assess_vae(base, args.pictures / "all.npz")
        sampling = Sampling(args.steps, args.guidance)
        figures |= assess_recall(base, args.pictures / "twemoji", sampling, args.out)
    if args.run:
        figures |= assess_run(base, args.run, captioned_pictures(args.nearer, IMAGE))
    (args.out / "assessment.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {str(value)[:90]}")


if __name__ == "__main__":
    main()
