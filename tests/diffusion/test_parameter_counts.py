"""The published counts of trained parameters, on networks of full shape that take no memory."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from diptych_api.training import LoRA
from diptych_diffusion.lora import inject, parameter_report

pytestmark = pytest.mark.slow

COMMON = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "act_fn": "silu",
}
SD1 = {**COMMON, "cross_attention_dim": 768, "attention_head_dim": 8}
SD2 = {
    **COMMON,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}


def unet_on_meta(config: dict[str, object]) -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


@pytest.mark.parametrize(
    ("config", "rank", "trainable", "total"),
    [
        pytest.param(SD1, 4, 797_184, 860_318_148, id="sd1-r4"),
        pytest.param(SD1, 16, 3_188_736, 862_709_700, id="sd1-r16"),
        pytest.param(SD2, 8, 1_659_904, 867_570_628, id="sd2.1-r8"),
    ],
)
def test_counts_of_the_reference_systems(config: dict[str, object], rank: int, trainable: int, total: int) -> None:
    unet = unet_on_meta(config)
    inject(unet, LoRA(rank=rank, alpha=rank), seed=0)
    report = parameter_report(unet)
    assert (report.trainable, report.total) == (trainable, total)


def test_rank_4_trains_less_than_a_tenth_of_a_percent_of_sd1() -> None:
    unet = unet_on_meta(SD1)
    inject(unet, LoRA(rank=4, alpha=4), seed=0)
    assert round(parameter_report(unet).percent, 4) == 0.0927
