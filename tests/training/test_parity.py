"""In fp32 our step is the step of diffusers' training scripts: the same losses and weights on the same draws."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from peft import LoraConfig, set_peft_model_state_dict
from torch import Tensor, nn

from diptych_diffusion.draws import noise, timestep
from diptych_diffusion.lora import adapter_state
from diptych_training.building import build_loop
from diptych_training.data.entry import read_entry
from diptych_training.data.picture import to_tensor
from diptych_training.order import Visit
from diptych_training.share import Share
from support.bare_runs import CPU, Listener
from support.tiny_jobs import tiny_share, write_pictures
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

EPSILON, V = {"prediction_type": "epsilon"}, {"prediction_type": "v_prediction", "zero_terminal_snr": True}
MIN_SNR = {"lossWeighting": "MinSNR"}


class Peer:
    """The loop of train_text_to_image.py and train_text_to_image_lora.py, without their data loader and accelerate."""

    def __init__(self, share: Share) -> None:
        self.share, self.training = share, share.spec.training
        pipeline: Any = StableDiffusionPipeline.from_pretrained(share.base_folder, local_files_only=True)
        self.pipeline, self.unet = pipeline, pipeline.unet
        self.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False)

    def add_lora(self, state: dict[str, Tensor]) -> None:
        """Add an adapter as the script does, from the weights with which ours begins."""
        lora = self.share.spec.lora
        self.unet.add_adapter(
            LoraConfig(
                r=lora.rank,
                lora_alpha=int(lora.alpha),
                target_modules=lora.target_modules,
                use_rslora=lora.use_rslora,
                use_dora=lora.use_dora,
            )
        )
        set_peft_model_state_dict(self.unet, state)

    def train(self, batches: Iterator[list[Visit]], optimizer: torch.optim.Optimizer) -> Iterator[float]:
        """Yield the loss of each step."""
        for visits in batches:
            loss = self.loss(visits)
            loss.backward()
            nn.utils.clip_grad_norm_(self.weights(), self.training.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            yield loss.item()

    def weights(self) -> list[nn.Parameter]:
        """Return what learns."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def loss(self, visits: list[Visit]) -> Tensor:
        """Return the loss of a batch, in the scripts' own formulas."""
        seed, image = self.training.seed, self.share.spec.dataset.image
        keys = [(seed, visit.epoch, visit.key) for visit in visits]
        pixels = torch.stack([to_tensor(read_entry(visit.entry, image)) for visit in visits])
        posterior = self.pipeline.vae.encode(pixels).latent_dist
        drawn = torch.stack([noise(posterior.mean.shape[1:], *key, "posterior") for key in keys])
        latents = (posterior.mean + posterior.std * drawn) * self.pipeline.vae.config.scaling_factor
        noises = torch.stack([noise(latents.shape[1:], *key, "noise") for key in keys])
        t = torch.tensor([timestep(1000, *key, "timestep") for key in keys])
        tokens = self.pipeline.tokenizer(
            [visit.caption for visit in visits],
            max_length=self.pipeline.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        text = self.pipeline.text_encoder(tokens.input_ids)[0]
        is_v = self.scheduler.config.prediction_type == "v_prediction"
        target = self.scheduler.get_velocity(latents, noises, t) if is_v else noises
        predicted = self.unet(self.scheduler.add_noise(latents, noises, t), t, text, return_dict=False)[0]
        errors = nn.functional.mse_loss(predicted, target, reduction="none").mean(dim=[1, 2, 3])
        if self.training.loss_weighting == "MinSNR":
            snr = compute_snr(self.scheduler, t)
            bounded = torch.stack([snr, self.training.snr_gamma * torch.ones_like(t)], dim=1).min(dim=1)[0]
            errors = errors * (bounded / (snr + 1) if is_v else bounded / snr)
        return errors.mean()


def share_on(root: Path, base: dict[str, Any], **changes: Any) -> Share:
    make_pipeline(root / "base", **base)
    write_pictures(root / "pictures")
    settings = {"steps": 3, "captionDropout": 0, "learningRate": 1e-3}
    return tiny_share(root, **changes | {"training": settings | changes.get("training", {})})


@pytest.mark.parametrize(
    ("base", "lora", "training"),
    [
        pytest.param(EPSILON, {"alpha": 6}, {}, id="lora"),
        pytest.param(V, {"useRslora": True, "alpha": 3}, MIN_SNR, id="rslora, v, min-SNR"),
        pytest.param(EPSILON, {"useDora": True}, MIN_SNR, id="dora, epsilon, min-SNR"),
        pytest.param(EPSILON, {"loraPlusRatio": 8}, {}, id="lora+"),
        pytest.param(V, None, {}, id="full unet, v"),
        pytest.param(EPSILON, None, MIN_SNR, id="full unet, epsilon, min-SNR"),
    ],
)
def test_losses_and_weights_are_those_of_diffusers_script(
    tmp_path: Path, base: dict[str, Any], lora: dict[str, Any] | None, training: dict[str, Any]
) -> None:
    method = {"method": "FullUNet"} if lora is None else {"lora": lora}
    share = share_on(tmp_path, base, training=training, **method)
    listener = Listener()
    loop = build_loop(share, CPU, listener)
    loop.report_every_s, loop.held_out = 0, []
    peer = Peer(share)
    if lora is None:
        peer.unet.requires_grad_(True)
    else:
        peer.add_lora(adapter_state(loop.trainee.unet))
    optimizer = torch.optim.AdamW(peer.weights(), lr=1e-3, weight_decay=0.01)
    if lora is not None and "loraPlusRatio" in lora:
        named = [(name, p) for name, p in peer.unet.named_parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for name, p in named if "lora_A" in name], "lr": 1e-3},
                {"params": [p for name, p in named if "lora_B" in name], "lr": 8e-3},
            ],
            weight_decay=0.01,
        )
    batches = (loop.order.batch(step, 4) for step in range(3))
    expected = list(peer.train(batches, optimizer))
    loop.run()
    assert list(listener.losses().values()) == pytest.approx(expected, rel=1e-5)
    theirs = dict(peer.unet.named_parameters())
    for name, parameter in loop.trainee.parameters.items():
        torch.testing.assert_close(parameter, theirs[name.removeprefix("unet.")], rtol=1e-3, atol=1e-4)
