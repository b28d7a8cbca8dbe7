"""The parameter file of Text-To-Image-Diffusion (aniketpoojari/Text-To-Image-Diffusion, params.yaml)."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator

from diptych_cli.foreign import SD15, Foreign, Imported, Values, pruned

PIXELS_PER_LATENT = 8
LATENT_CHANNELS = 4
TIMESTEPS = 1000


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


Names = Annotated[list[str], BeforeValidator(_split)]
Numbers = Annotated[list[int], BeforeValidator(_split)]
Side = Annotated[tuple[int, int], BeforeValidator(_split)]


class _Data(Foreign):
    raw: str
    train_size: int
    val_size: int


class _Clip(Foreign):
    max_length: int = 77


class _Vae(Foreign):
    image_size: Side


class _Scheduler(Foreign):
    T: int = TIMESTEPS


class _UNet(Foreign):
    image_size: Side
    in_channels: int = LATENT_CHANNELS
    out_channels: int = LATENT_CHANNELS
    down_block_types: Names
    up_block_types: Names
    mid_block_type: str
    block_out_channels: Numbers
    layers_per_block: int
    norm_num_groups: int
    cross_attention_dim: int
    attention_head_dim: int
    dropout: float
    time_embedding_type: str
    act_fn: str


class _Training(Foreign):
    batch_size: int
    unet_learning_rate: float
    weight_decay: float
    num_epochs: int


class _MLflow(Foreign):
    server_uri: str
    experiment_name: str = "Training"
    run_name: str = "run_1"
    registered_model_name: str | None = None
    tracking_username: str | None = None
    tracking_password: str | None = None
    s3_mlruns_bucket: str | None = None


class _Estimator(Foreign):
    entry_point: str | None = None
    source_dir: str | None = None
    framework_version: str | None = None
    py_version: str | None = None
    role: str | None = None
    instance_count: int = 1
    instance_type: str | None = None
    use_spot_instances: bool = False
    max_wait: int | None = None
    max_run: int | None = None
    s3_train_data: str | None = None


class _HuggingFace(Foreign):
    model_repo: str
    token: str | None = None


class _Logged(Foreign):
    diffuser_dir: str | None = None


class FlowersFile(Foreign):
    """The whole file."""

    data: _Data
    clip: _Clip = _Clip()
    vae: _Vae
    DDPMScheduler: _Scheduler = _Scheduler()
    unet: _UNet
    training: _Training
    mlflow: _MLflow | None = None
    pytorch_estimator: _Estimator = _Estimator()
    huggingface: _HuggingFace | None = None
    log_trained_model: _Logged = _Logged()

    def imported(self) -> Imported:
        """Return the job that it describes. Raises ValueError for shapes that contradict each other."""
        self._check_shapes()
        data, estimator = self.data, self.pytorch_estimator
        spec = {
            "base": {"huggingFace": SD15},
            "method": "FromScratch",
            "unet": self._unet(),
            "dataset": {
                "source": {"uri": data.raw},
                "layout": "Sidecar",
                "split": {
                    "trainRange": [0, data.train_size],
                    "validationRange": [data.train_size, data.train_size + data.val_size],
                },
                "image": {"size": self.vae.image_size[0], "crop": "Stretch", "horizontalFlip": True},
            },
            "training": self._training(),
            "tracking": self.mlflow and {"uri": self.mlflow.server_uri, "experiment": self.mlflow.experiment_name},
            "publish": self.huggingface and {"huggingFaceRepo": self.huggingface.model_repo},
            "resources": {"workers": estimator.instance_count, "gpusPerWorker": 1},
            "activeDeadlineSeconds": estimator.max_run,
        }
        name = re.sub(r"[^a-z0-9]+", "-", (self.mlflow.run_name if self.mlflow else "flowers").lower()).strip("-")
        return Imported(name if name[:1].isalpha() else f"run-{name}".rstrip("-"), pruned(spec), list(self._notes()))

    def _unet(self) -> Values:
        unet = self.unet
        return {
            "blockOutChannels": unet.block_out_channels,
            "downBlockTypes": unet.down_block_types,
            "upBlockTypes": unet.up_block_types,
            "midBlockType": unet.mid_block_type,
            "layersPerBlock": unet.layers_per_block,
            "crossAttentionDim": unet.cross_attention_dim,
            "attentionHeadDim": unet.attention_head_dim,
            "normNumGroups": unet.norm_num_groups,
            "dropout": unet.dropout,
            "actFn": unet.act_fn,
            "timeEmbeddingType": unet.time_embedding_type,
        }

    def _training(self) -> Values:
        workers, training = self.pytorch_estimator.instance_count, self.training
        return {
            "epochs": training.num_epochs,
            "batchSize": training.batch_size * workers,
            "learningRate": training.unet_learning_rate,
            "warmupSteps": 500,
            "optimizer": {"weightDecay": training.weight_decay},
            "captionDropout": 0.1,
            "ema": {"enabled": True, "decay": 0.9999},
            "earlyStopping": {"enabled": True, "patience": 10},
            "sharding": "OptimizerAndGradients" if workers > 1 else None,
        }

    def _check_shapes(self) -> None:
        height, width = self.vae.image_size
        if height != width:
            raise ValueError(f"vae.image_size: {height},{width} is not a square, and Diptych trains squares.")
        if self.unet.image_size != (height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT):
            raise ValueError(f"unet.image_size: {self.unet.image_size} is not vae.image_size / {PIXELS_PER_LATENT}.")
        if (self.unet.in_channels, self.unet.out_channels) != (LATENT_CHANNELS, LATENT_CHANNELS):
            raise ValueError(f"unet.in_channels, out_channels: the VAE's latents have {LATENT_CHANNELS} channels.")
        if self.DDPMScheduler.T != TIMESTEPS:
            raise ValueError(f"DDPMScheduler.T: {self.DDPMScheduler.T} is not the base's {TIMESTEPS} timesteps.")

    def _notes(self) -> Iterator[str]:
        yield (
            "the file names no base: text encoder, tokenizer, VAE and noise schedule are Stable Diffusion 1.5's. The "
            "original took CLIP ViT-L/14, which is the same, sd-vae-ft-mse and a cosine schedule."
        )
        yield "training.batch_size is of one worker, spec.training.batchSize of all together."
        yield "clip.max_length: the text encoder's own is used."
        yield "added from the original's code: null captions, mirrored pictures, warm-up, EMA, patience, clipping."
        if self.mlflow is not None:
            yield (
                "mlflow.tracking_username, tracking_password: never copied; put a token into a Secret and name it in "
                "spec.tracking.token. registered_model_name, s3_mlruns_bucket: without a counterpart."
            )
        if self.huggingface is not None:
            yield "huggingface.token: never copied; name a Secret in spec.publish.token."
        yield (
            "pytorch_estimator: instances are workers with one GPU, max_run is the deadline; spot instances are a "
            "matter of spec.resources.pods.tolerations; image, code and role are the cluster's."
        )
