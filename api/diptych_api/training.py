"""How to learn: method, optimiser, schedule, checkpoints, validation."""

from typing import Annotated, Literal

from pydantic import Field

from diptych_api.fields import Fraction, Location, Model, Prompt, Seed, Steps, Text
from diptych_api.rules import rule

Method = Literal["LoRA", "FullUNet", "FromScratch"]


class LoRA(Model):
    """A low-rank update W + (alpha / rank) B A of the UNet's attention (Hu et al., arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1, le=512, description="LoRA rank is the width of the update; 4 to 64 are usual.")
    alpha: float = Field(default=16, gt=0, le=4096, description="The update is scaled by alpha / rank.")
    dropout: float = Field(
        default=0, ge=0, lt=1, description="Share of the update's inputs set to zero while training."
    )
    target_modules: list[Text] = Field(
        default=["to_q", "to_k", "to_v", "to_out.0"],
        min_length=1,
        max_length=64,
        description="Names of the layers that get an update.",
    )
    use_rslora: bool = Field(default=False, description="Scale by alpha / sqrt(rank) instead (arXiv 2312.03732).")
    use_dora: bool = Field(default=False, description="Learn direction and magnitude apart (arXiv 2402.09353).")
    lora_plus_ratio: float = Field(
        default=1, ge=1, le=256, description="Learning rate of B divided by that of A (arXiv 2402.12354)."
    )
    text_encoder_rank: int = Field(
        default=0, ge=0, le=512, description="Rank of an update of the text encoder; 0 for none."
    )
    init_from: Location | None = Field(default=None, description="An existing adapter to go on from.")


class UNet(Model):
    """Shape of a UNet2DConditionModel that is trained from nothing; names as in diffusers."""

    block_out_channels: list[Annotated[int, Field(ge=8, le=4096)]] = Field(
        default=[320, 640, 1280, 1280], min_length=1, max_length=8, description="Channels of each level."
    )
    down_block_types: list[Text] = Field(
        default=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        min_length=1,
        max_length=8,
        description="Block class of each level on the way down.",
    )
    up_block_types: list[Text] = Field(
        default=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        min_length=1,
        max_length=8,
        description="Block class of each level on the way up.",
    )
    mid_block_type: Text = Field(default="UNetMidBlock2DCrossAttn", description="Class of the middle block.")
    layers_per_block: int = Field(default=2, ge=1, le=16, description="Residual layers of each block.")
    cross_attention_dim: int = Field(default=768, ge=8, le=8192, description="Width of the text encoder's output.")
    attention_head_dim: int = Field(
        default=8, ge=1, le=1024, description="As diffusers reads it: the number of heads for SD 1.x shapes."
    )
    norm_num_groups: int = Field(default=32, ge=1, le=256, description="Groups of each group norm.")
    dropout: float = Field(default=0, ge=0, lt=1, description="Dropout in the residual layers.")
    act_fn: Text = Field(default="silu", description="Activation.")
    time_embedding_type: Literal["positional", "fourier"] = Field(
        default="positional", description="Kind of time embedding."
    )


class Optimizer(Model):
    """AdamW (arXiv 1711.05101) and its settings."""

    name: Literal["AdamW", "AdamW8bit"] = Field(default="AdamW", description="AdamW8bit needs bitsandbytes.")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), description="Decay of the two moments."
    )
    weight_decay: float = Field(default=0.01, ge=0, le=10, description="Decoupled weight decay.")
    epsilon: float = Field(default=1e-8, gt=0, le=1, description="Added to the root of the second moment.")


class EMA(Model):
    """Exponential moving average of the trained weights, with warm-up min(decay, (1 + t) / (10 + t))."""

    enabled: bool = Field(default=True, description="Keep the average; validation and the artifact use it.")
    decay: float = Field(default=0.999, ge=0, lt=1, description="Decay once warmed up.")


class Checkpoint(Model):
    """When the state of training is saved and how much of it is kept."""

    every_steps: Steps = Field(default=500, description="Optimiser steps between checkpoints.")
    keep: int = Field(
        default=3, ge=1, le=1000, description="Newest checkpoints that are kept; the best one is kept besides."
    )


class Validation(Model):
    """Loss on the held-out samples with fixed noise and stratified timesteps."""

    every_steps: Steps = Field(default=250, description="Optimiser steps between validations.")
    draws: int = Field(default=4, ge=1, le=64, description="Timesteps for each held-out sample.")
    max_samples: int = Field(default=256, ge=1, le=100_000, description="Held-out samples that are used.")


class EarlyStopping(Model):
    """Stop when the validation loss no longer falls; the best weights are restored."""

    enabled: bool = Field(default=False, description="Stop early.")
    patience: int = Field(default=5, ge=1, le=1000, description="Validations without improvement that are allowed.")
    min_delta: float = Field(default=0, ge=0, le=1, description="Smallest fall of the loss that counts.")


class Samples(Model):
    """Pictures drawn during training for fixed prompts."""

    every_steps: Steps | None = Field(
        default=None, description="Optimiser steps between sample grids; none when unset."
    )
    prompts: list[Prompt] = Field(default=[], max_length=8, description="Prompts of the grid.")


class Training(Model):
    """The training run. Every count of steps is in optimiser steps."""

    steps: Steps | None = Field(
        default=None, description="Length of the run; 1000 when neither steps nor epochs is set."
    )
    epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="Length of the run in passes over the training samples."
    )
    batch_size: int = Field(default=4, ge=1, le=65_536, description="Samples of one optimiser step, over all workers.")
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="Samples at once on one worker; the rest of the batch is accumulated.",
    )
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Peak learning rate.")
    lr_schedule: Literal["Constant", "Cosine", "Linear"] = Field(
        default="Constant", description="What follows the warm-up."
    )
    warmup_steps: int = Field(default=0, ge=0, le=10_000_000, description="Steps of linear warm-up.")
    optimizer: Optimizer = Field(default=Optimizer(), description="The optimiser.")
    max_grad_norm: float = Field(
        default=1, gt=0, le=1e6, description="The gradient is clipped to this norm once a step."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Arithmetic of the frozen parts; trained weights stay fp32."
    )
    seed: Seed = Field(default=42, description="Seed of order, noise, timesteps, dropout and new weights.")
    caption_dropout: Fraction = Field(
        default=0, description="Share of visits with the empty caption, which classifier-free guidance needs."
    )
    loss_weighting: Literal["None", "MinSNR", "Debiased"] = Field(
        default="None", description="Weight of each timestep (MinSNR: arXiv 2303.09556)."
    )
    snr_gamma: float = Field(default=5, gt=0, le=1000, description="The bound of MinSNR.")
    train_text_encoder: bool = Field(default=False, description="Train the whole text encoder too; FromScratch only.")
    ema: EMA = Field(default=EMA(), description="Average of the weights.")
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="Saving.")
    validation: Validation = Field(default=Validation(), description="Measuring.")
    early_stopping: EarlyStopping = Field(default=EarlyStopping(), description="Stopping.")
    samples: Samples = Field(default=Samples(), description="Pictures on the way.")
    cache_latents: bool = Field(default=True, description="Encode pictures once, before training.")
    cache_text_embeddings: bool = Field(
        default=True, description="Encode captions once, before training; off when the text encoder is trained."
    )
    gradient_checkpointing: bool = Field(default=False, description="Trade time for memory.")
    attention: Literal["auto", "sdpa", "xformers", "sliced"] = Field(
        default="auto", description="Implementation of attention."
    )
    compile: Literal["Off", "Regional", "Whole"] = Field(default="Off", description="torch.compile of the UNet.")
    channels_last: bool = Field(default=False, description="Memory format of the UNet.")
    sharding: Literal["None", "OptimizerAndGradients"] = Field(
        default="None", description="What is divided among the workers."
    )

    @rule("set steps or epochs, not both", cel="!has(self.steps) || !has(self.epochs)", field="epochs")
    def _one_length(self) -> bool:
        return self.steps is None or self.epochs is None

    @rule(
        "microBatchSize may not be above batchSize",
        cel="!has(self.microBatchSize) || self.microBatchSize <= (has(self.batchSize) ? self.batchSize : 4)",
        field="microBatchSize",
    )
    def _micro_within_batch(self) -> bool:
        return self.micro_batch_size is None or self.micro_batch_size <= self.batch_size
