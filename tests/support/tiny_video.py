"""A Stable Video Diffusion of random weights that animates in a second."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil


def make_video_pipeline(folder: Path) -> Path:
    """Write it and return its folder. Sides of its pictures are multiples of 4."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        projection_dim=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=224,  # to which diffusers resizes what it shows
        intermediate_size=32,
        patch_size=56,
    )
    pipeline = StableVideoDiffusionPipeline(
        vae=AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4
        ),
        image_encoder=CLIPVisionModelWithProjection(vision),
        unet=UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=16,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=32,
            num_attention_heads=4,
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            use_karras_sigmas=True,
            sigma_max=700.0,
            sigma_min=0.002,
            timestep_type="continuous",
            timestep_spacing="leading",
            steps_offset=1,
        ),
        feature_extractor=CLIPImageProcessorPil(crop_size=224, size=224),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def renamed_part(folder: Path, part: str, name: str) -> None:
    """Have the index name another class for a part."""
    index = json.loads((folder / "model_index.json").read_text())
    index[part][1] = name
    (folder / "model_index.json").write_text(json.dumps(index))
