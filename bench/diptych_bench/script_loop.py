"""What diffusers' `train_text_to_image_lora.py` does in a step, on the libraries that are installed here.

Written anew from the behaviour of the script in the repository of diffusers (commit 58eb52c): accelerate, a DataLoader
of its default kind, pictures opened and brought to size at every visit, VAE and text encoder in the loop, noise from
torch's own generator, the loss read by the CPU at every step, a progress bar, a scheduler of the learning rate. Where
the script is known to do little, so does this: its gradient is never clipped, because the filter with the parameters is
empty by then. Left out, which makes this a little faster than the script: the library `datasets`, torchvision (PIL does
the same work), TensorBoard.

Shapes: B samples, C channels, H and W sides, L tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from peft import LoraConfig, set_peft_model_state_dict
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import CLIPTextModel, CLIPTokenizer

from diptych_bench.laps import Laps

Pair = tuple[Path, str]
Draws = tuple[Tensor, Tensor, Tensor]
"""Noise of the VAE's posterior, noise, timesteps."""


class Pictures(Dataset[dict[str, Tensor]]):
    """Captioned pictures, opened and tokenized when asked for, as the script's transform does."""

    def __init__(self, pairs: Sequence[Pair], side: int, tokenizer: CLIPTokenizer) -> None:
        self.pairs, self.side, self.tokenizer = pairs, side, tokenizer

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        path, caption = self.pairs[index]
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        short = min(picture.size)
        size = tuple(round(length * self.side / short) for length in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        left, top = (picture.width - self.side) // 2, (picture.height - self.side) // 2
        picture = picture.crop((left, top, left + self.side, top + self.side))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)
        tokens = self.tokenizer(
            caption,
            max_length=self.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        return {"pixel_values": (pixels - 0.5) / 0.5, "input_ids": tokens.input_ids[0]}


class ScriptLoop:
    """The script's training in one process; ``laps`` tells where its time went."""

    def __init__(
        self, base: Path, pairs: Sequence[Pair], side: int, *, batch_size: int, rank: int, rate: float
    ) -> None:
        self.laps, self.batch_size = Laps(), batch_size
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        device = self.accelerator.device
        self.laps.on_gpu = device.type == "cuda"
        self.tokenizer = tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
        self.schedule = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
        self.text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder").to(device)
        self.vae = AutoencoderKL.from_pretrained(base, subfolder="vae").to(device)
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet").to(device)
        for part in (unet, self.vae, self.text_encoder):
            part.requires_grad_(requires_grad=False)
        targets = ["to_k", "to_q", "to_v", "to_out.0"]
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets))
        self.lora_layers = filter(lambda parameter: parameter.requires_grad, unet.parameters())
        optimizer = torch.optim.AdamW(self.lora_layers, lr=rate, weight_decay=1e-2)
        loader = DataLoader(Pictures(pairs, side, tokenizer), shuffle=bool(pairs), batch_size=batch_size)
        scheduler = get_scheduler("constant", optimizer, num_warmup_steps=0, num_training_steps=10_000)
        prepared = self.accelerator.prepare(unet, optimizer, loader, scheduler)
        self.unet, self.optimizer, self.loader, self.scheduler = prepared
        self.unet.train()
        self.bar = tqdm(total=10_000, disable=not self.accelerator.is_local_main_process, file=_Nowhere())

    def begin_with(self, state: dict[str, Tensor]) -> None:
        """Begin with these weights in place of the script's own."""
        set_peft_model_state_dict(self.unet, state)

    def batches(self) -> Iterator[Any]:
        """Yield batches for ever, each epoch in another order."""
        while True:
            yield from self.loader

    def steps(self, count: int, batches: Iterator[Any], draws: Callable[[int], Draws] | None = None) -> Iterator[float]:
        """Do steps and yield their losses; without ``draws`` from torch's generator, as the script does."""
        for step in range(count):
            with self.laps.lap("data"):
                batch = next(batches)
            yield self._step(batch, None if draws is None else draws(step))

    def _step(self, batch: Any, draws: Draws | None) -> float:  # noqa: ANN401 -- what accelerate makes of a batch
        with self.accelerator.accumulate(self.unet):
            with self.laps.lap("VAE"):
                posterior = self.vae.encode(batch["pixel_values"]).latent_dist
                drawn = posterior.sample() if draws is None else posterior.mean + posterior.std * draws[0]
                latents_BCHW = drawn * self.vae.config.scaling_factor
            with self.laps.lap("noise"):
                noise_BCHW = torch.randn_like(latents_BCHW) if draws is None else draws[1]
                last = self.schedule.config.num_train_timesteps
                t_B = torch.randint(0, last, latents_BCHW.shape[:1], device=latents_BCHW.device)
                t_B = (t_B if draws is None else draws[2]).long()
                noisy_BCHW = self.schedule.add_noise(latents_BCHW, noise_BCHW, t_B)
            with self.laps.lap("text"):
                text_BLD = self.text_encoder(batch["input_ids"], return_dict=False)[0]
            is_v = self.schedule.config.prediction_type == "v_prediction"
            target_BCHW = self.schedule.get_velocity(latents_BCHW, noise_BCHW, t_B) if is_v else noise_BCHW
            with self.laps.lap("UNet"):
                predicted_BCHW = self.unet(noisy_BCHW, t_B, text_BLD, return_dict=False)[0]
                loss = functional.mse_loss(predicted_BCHW.float(), target_BCHW.float(), reduction="mean")
            with self.laps.lap("logging"):
                seen = float(self.accelerator.gather(loss.repeat(self.batch_size)).mean().item())
            with self.laps.lap("UNet"):
                self.accelerator.backward(loss)
            with self.laps.lap("optimiser"):
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.lora_layers, 1.0)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            with self.laps.lap("logging"):
                self.bar.update(1)
                self.bar.set_postfix(step_loss=loss.detach().item(), lr=self.scheduler.get_last_lr()[0])
        return seen


class _Nowhere:
    """Where the progress bar is written to: its work is done, nobody sees it."""

    def write(self, _text: str) -> int:
        return 0

    def flush(self) -> None:
        pass
