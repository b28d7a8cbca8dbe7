"""The reference systems of the examples, made small: the base that ships, pictures that are here, random networks."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.finetunejob import FineTuneJob
from diptych_api.resource import Resource
from diptych_api.servingconfig import registry_config, wire
from diptych_api.yaml_reader import read_resource
from diptych_cli.found_adapters import find_adapters
from diptych_diffusion.base_files import resolve_base
from support.counting_limiter import CountingLimiter
from support.example_runs import Ended, run_without_ray
from support.judges import make_clip, make_inception, make_lpips
from support.seers import make_florence2, make_qwen2_vl
from support.services import Served, served

ROOT: Final = Path(__file__).resolve().parents[2]
REFERENCE: Final = ROOT / "examples/reference"
SYSTEMS: Final = ("astronomy", "everyday", "flowers", "flickr30k", "pencil")
SHIPPED: Final = ("base.huggingFace=null", "base.builtin=tiny-emoji")
SHORT: Final = (
    *("training.epochs=null", "training.steps=2", "training.batchSize=2", "training.warmupSteps=0"),
    *("training.validation.draws=1", "evaluation.inferenceSteps=1", "dataset.image.size=32"),
    "resources.gpusPerWorker=0",
)
HERE: Final = ("publish.huggingFaceRepo=null", "publish.token=null")
OWN: Final = {
    "astronomy": (
        *(*HERE, "publish.uri=published/astronomy", "dataset.split.fraction=0.3"),
        *("dataset.captioning.maxNewTokens=12", "dataset.image.size=64"),  # LPIPS asks for more than 32 pixels
    ),
    "everyday": ("dataset.source.uri=everyday", "dataset.split.count=2"),
    "flowers": (
        *(*HERE, "publish.uri=published/flowers", "output.uri=runs", "output.credentials=null"),
        *("tracking.uri=mlruns", "tracking.token=null"),
        *("dataset.source.uri=flowers.zip", "dataset.source.credentials=null", "dataset.publishTo=prepared"),
        *("dataset.split.trainRange=[0,6]", "dataset.split.validationRange=[6,8]"),
        "unet={crossAttentionDim: 160, blockOutChannels: [32, 32, 64], normNumGroups: 8, layersPerBlock: 1}",
    ),
    # Zero terminal SNR, which the base that ships has, leaves PNDM nothing to begin with.
    "flickr30k": ("dataset.split.count=2", "evaluation.scheduler=DDIM"),
    "pencil": ("dataset.split.count=2",),
}
SERVED: Final = ("defaults.size=32", "defaults.scheduler=DDIM", "limits.minSide=32", "resources.gpus=0")
NETWORKS: Final = {
    "CLIP-ViT-B-32-laion2B-s34B-b79K": make_clip,
    "clip-vit-base-patch32": make_clip,
    "inception": make_inception,
    "lpips": make_lpips,
    "Qwen2-VL-7B-Instruct": make_qwen2_vl,
    "Florence-2-large": make_florence2,
}
LAYOUTS: Final = {
    "astronomy": "class-folders",
    "everyday": "caption-table",
    "flickr30k": "flickr30k",
    "wikiart": "hub-dataset",
    "flowers": "sidecar",
}


@dataclass
class Systems:
    """A folder with all that the jobs name, in which they run."""

    folder: Path

    def __post_init__(self) -> None:
        """Fill the folder. A picture of the sky is there twice, in two classes; two flowers have no caption."""
        for name, make in NETWORKS.items():
            make(self.folder / "networks" / name)
        for name, layout in LAYOUTS.items():
            shutil.copytree(ROOT / "examples/layouts" / layout, self.folder / name)
        sky, flowers = self.folder / "astronomy", self.folder / "flowers"
        shutil.copy(sky / "animals/dog-face.png", sky / "ripe_fruit/dog.png")
        for stem in ("pear", "banana"):
            (flowers / f"captions/{stem}.txt").unlink()
        shutil.make_archive(str(flowers), "zip", flowers)
        _paint(next((self.folder / "wikiart").rglob("*.parquet")))

    def run(self, system: str) -> Ended:
        """Run the job of a system to its end, made small."""
        return run_without_ray(job_of(system, *SHIPPED, *SHORT, *OWN[system]), self.folder)

    @contextmanager
    def serving(self, system: str, base: Sequence[str] = SHIPPED) -> Iterator[Served]:
        """Serve the deployment of a system with what its job left, as `diptych serve` finds it."""
        spec = deployment_of(system, *base, *SERVED).spec
        adapters = find_adapters(spec, self.folder / "runs/local")
        with served(resolve_base(spec.base, self.folder), limiter=CountingLimiter(spec.rate_limit)) as service:
            service.configure(**wire(registry_config(spec, adapters)))
            yield service


def _paint(path: Path) -> None:
    """Make a table of emoji one of paintings: artists and a class label of styles, no captions."""
    emoji = pq.read_table(path)
    styles = {"_type": "ClassLabel", "names": ["Impressionism", "Cubism"]}
    features = {"image": {"_type": "Image"}, "artist": {"_type": "Value", "dtype": "string"}, "style": styles}
    paintings = pa.table({"image": emoji["image"], "artist": emoji["text"], "style": emoji["kind"]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(paintings.replace_schema_metadata(about), path)


def job_of(system: str, *overrides: str) -> FineTuneJob:
    """Return the job of a system."""
    job = _read(system, "job.yaml", overrides)
    assert isinstance(job, FineTuneJob)
    return job


def deployment_of(system: str, *overrides: str) -> DiffusionDeployment:
    """Return the deployment of a system."""
    deployment = _read(system, "serving.yaml", overrides)
    assert isinstance(deployment, DiffusionDeployment)
    return deployment


def _read(system: str, name: str, overrides: tuple[str, ...]) -> Resource:
    return read_resource(REFERENCE / system / name, overrides)
