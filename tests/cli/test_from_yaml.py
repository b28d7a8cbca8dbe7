"""`diptych job from-yaml` reads the training files of two other systems."""

from pathlib import Path

import pytest

from diptych_api.finetunejob import FineTuneJob
from diptych_api.yaml_reader import read_resource
from support.recorded_run import diptych

ASTRO = """\
seed: 42
model: {base: "models/sd15_local/", dtype: "bf16", cache_dir: null}
data: {train_manifest: "data/train.jsonl", val_manifest: "data/val.jsonl", image_size: 512, num_workers: 4}
train:
  output_dir: "outputs/"
  batch_size: 4
  grad_accum: 2
  max_steps: 3000
  lr: 1.0e-4
  lr_warmup_steps: 200
  checkpoint_every: 500
  enable_ema: false
  use_lora: true
  lora_r: 16
  lora_alpha: 16
  lora_dropout: 0.0
  gradient_checkpointing: false
  use_8bit_adam: true
  log_every: 50
  use_xformers: true
  weight_decay: 1.0e-2
  betas: [0.9, 0.999]
"""
FLOWERS = """\
data: {raw: data/raw/flowers, train_size: 500, val_size: 50}
clip: {max_length: 77}
vae: {image_size: "128,128"}
DDPMScheduler: {T: 1000}
unet:
  image_size: "16,16"
  in_channels: 4
  out_channels: 4
  down_block_types: CrossAttnDownBlock2D,DownBlock2D,CrossAttnDownBlock2D
  up_block_types: CrossAttnUpBlock2D,UpBlock2D,CrossAttnUpBlock2D
  mid_block_type: UNetMidBlock2DCrossAttn
  block_out_channels: "64,128,256"
  layers_per_block: 2
  norm_num_groups: 32
  cross_attention_dim: 512
  attention_head_dim: 12
  dropout: 0.1
  time_embedding_type: positional
  act_fn: silu
training: {batch_size: 4, unet_learning_rate: "1e-4", weight_decay: "1e-2", num_epochs: 20}
mlflow:
  server_uri: https://mlflow.example
  experiment_name: Training
  run_name: run_1
  registered_model_name: Diffusion
  tracking_username: somebody
  tracking_password: hunter2
  s3_mlruns_bucket: bucket
pytorch_estimator:
  entry_point: training_sagemaker_deepspeed.py
  source_dir: src/code
  framework_version: "2.6.0"
  py_version: py311
  role: arn:aws:iam::123456789:role/SageMakerRole
  instance_count: 2
  instance_type: ml.g4dn.xlarge
  use_spot_instances: true
  max_wait: 14400
  max_run: 14400
  s3_train_data: s3://bucket/flowers.zip
huggingface: {model_repo: somebody/flowers, token: hf_secret}
log_trained_model: {diffuser_dir: saved_models/diffuser.pth}
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sft_sd15.yaml").write_text(ASTRO)
    Path("params.yaml").write_text(FLOWERS)


def imported(*arguments: str) -> FineTuneJob:
    ended = diptych("job", "from-yaml", *arguments, "-o", "job.yaml")
    assert ended.exit_code == 0, ended.output
    job = read_resource("job.yaml")
    assert isinstance(job, FineTuneJob)
    return job


def test_a_lora_of_astro_diffusion_keeps_every_setting_that_has_a_counterpart() -> None:
    spec = imported("sft_sd15.yaml").spec
    assert (spec.method, spec.base.uri, spec.output.uri) == ("LoRA", "models/sd15_local/", "outputs/")
    assert (spec.lora.rank, spec.lora.alpha, spec.lora.dropout) == (16, 16, 0)
    training = spec.training
    assert (training.steps, training.batch_size, training.micro_batch_size) == (3000, 8, 4)
    assert (training.learning_rate, training.warmup_steps, training.seed, training.precision) == (1e-4, 200, 42, "bf16")
    assert (training.optimizer.name, training.optimizer.weight_decay) == ("AdamW8bit", 0.01)
    assert (training.ema.enabled, training.checkpoint.every_steps) == (False, 500)
    dataset = spec.dataset
    assert (dataset.source.uri, dataset.layout, dataset.image_column) == ("data", "JsonLines", "path")
    assert "val_manifest" in Path("job.yaml").read_text()


def test_the_flowers_become_a_job_from_scratch_on_two_workers_without_their_secrets() -> None:
    job = imported("params.yaml")
    spec = job.spec
    assert (job.metadata.name, spec.method, spec.training.epochs, spec.training.batch_size) == (
        *("run-1", "FromScratch"),
        *(20, 8),
    )
    assert spec.unet is not None
    assert (spec.unet.block_out_channels, spec.unet.cross_attention_dim) == ([64, 128, 256], 512)
    assert (spec.resources.workers, spec.training.sharding) == (2, "OptimizerAndGradients")
    assert (spec.dataset.split.train_range, spec.dataset.split.validation_range) == ((0, 500), (500, 550))
    assert (spec.dataset.image.size, spec.dataset.image.crop) == (128, "Stretch")
    assert spec.active_deadline_seconds == 14400
    text = Path("job.yaml").read_text()
    assert not any(secret in text for secret in ("hunter2", "hf_secret", "somebody\n", "arn:aws"))


def test_without_an_output_the_job_is_shown_with_what_was_left_behind() -> None:
    shown = diptych("job", "from-yaml", "params.yaml", "--set", "unet.crossAttentionDim=768").stdout
    assert shown.startswith("# Imported from params.yaml.")
    assert "crossAttentionDim: 768" in shown
    assert "tracking_password: never copied" in shown


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("lora_r:", "lora_rank:"), "train.lora_rank: unknown field. Did you mean lora_r?"),
        (("max_steps: 3000", "max_steps: many"), "train.max_steps: "),
        (("seed: 42\n", ""), "is no training file of"),
    ],
)
def test_what_the_file_should_not_hold_is_refused_by_name(change: tuple[str, str], told: str) -> None:
    Path("sft_sd15.yaml").write_text(ASTRO.replace(*change))
    ended = diptych("job", "from-yaml", "sft_sd15.yaml")
    assert ended.exit_code == 2
    assert told in ended.stderr


def test_shapes_that_contradict_each_other_are_refused() -> None:
    Path("params.yaml").write_text(FLOWERS.replace('"16,16"', '"32,32"'))
    ended = diptych("job", "from-yaml", "params.yaml")
    assert ended.exit_code == 2
    assert "unet.image_size" in ended.stderr


def test_a_hub_name_without_its_commit_says_which_field_is_missing() -> None:
    Path("sft_sd15.yaml").write_text(ASTRO.replace("models/sd15_local/", "someone/some-model"))
    ended = diptych("job", "from-yaml", "sft_sd15.yaml")
    assert ended.exit_code == 2
    assert "spec.base.huggingFace.revision: is missing" in ended.stderr
    revision = "base.huggingFace.revision=" + "a1" * 20
    assert diptych("job", "from-yaml", "sft_sd15.yaml", "--set", revision).exit_code == 0
