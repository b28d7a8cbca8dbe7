"""Train the tiny VAE of the ``tiny-emoji`` base on every emoji but the held-out ones.

    python make_vae.py --pictures OUT/all.npz --out vae --minutes 60

The loss is mean squared error plus a small KL term (Kingma and Welling, arXiv 1312.6114). At the end the
per-channel mean and deviation of the latents are folded into ``quant_conv`` and ``post_quant_conv``, so that
latents have mean 0 and deviation 1 and ``scaling_factor`` is 1.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

HALF = 0.5
BATCH, PEAK_LR, KL_WEIGHT, WARM_UP, EMA_DECAY = 8, 1.5e-3, 3e-5, 100, 0.998


def build() -> AutoencoderKL:
    """Return the untrained VAE: 64x64x3 to 16x16x6 latents."""
    return AutoencoderKL(
        block_out_channels=(8, 32, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=6,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=64,
        scaling_factor=1.0,
    )


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Return uint8 ``[B, H, W, C]`` pictures as float32 ``[B, C, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def augment(x_BCHW: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return the batch with random flips and shifts of up to 4 pixels."""
    out = []
    for x in x_BCHW:
        flip, dy, dx = torch.rand(3, generator=rng).tolist()
        padded = torch.nn.functional.pad(x.flip(-1) if flip < HALF else x, (4, 4, 4, 4), value=1.0)
        top, left = int(dy * 9), int(dx * 9)
        out.append(padded[:, top : top + 64, left : left + 64])
    return torch.stack(out)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """Return the mean over pictures of the reconstruction's PSNR in dB."""
    vae.eval()
    values = []
    for batch in np.array_split(pictures, max(1, len(pictures) // 25)):
        x = to_tensor(batch)
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        values += (-10 * torch.log10(((x - y) / 2).square().mean((1, 2, 3)))).tolist()
    vae.train()
    return sum(values) / len(values)


@torch.no_grad()
def normalise(vae: AutoencoderKL, pictures: np.ndarray) -> None:
    """Fold the latents' per-channel mean and deviation into the two 1x1 convolutions."""
    z = torch.cat([vae.encode(to_tensor(b)).latent_dist.mean for b in np.array_split(pictures, 40)])
    mean, std, n = z.mean((0, 2, 3)), z.std((0, 2, 3)), z.shape[1]
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += torch.einsum("oiyx,i->o", post.weight, mean)
    post.weight *= std.view(1, -1, 1, 1)
    quant.weight[:n] /= std.view(-1, 1, 1, 1)
    quant.bias[:n] = (quant.bias[:n] - mean) / std
    quant.bias[n:] -= 2 * std.log()


def main() -> None:
    """Train for the given time with a warm-up and a cosine to zero, then normalise and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--start", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    data = np.load(args.pictures)
    train, held = data["pictures"][~data["held"]], data["pictures"][data["held"]]
    vae = AutoencoderKL.from_pretrained(args.start) if args.start else build()
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=0.0)
    average = copy.deepcopy(vae).requires_grad_(False)
    started, step, spent = time.monotonic(), 0, 0.0
    while spent < 1:
        lr = PEAK_LR * min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * spent))
        optimizer.param_groups[0]["lr"] = lr
        index = torch.randint(len(train), (BATCH,), generator=rng).numpy()
        x = augment(to_tensor(train[index]), rng).to(memory_format=torch.channels_last)
        latent = vae.encode(x).latent_dist
        y = vae.decode(latent.sample()).sample
        mse = (x - y).square().mean()
        loss = mse + KL_WEIGHT * latent.kl().mean() / latent.mean[0].numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        decay = min(EMA_DECAY, step / (step + 10))
        fresh = [p.detach() for p in vae.parameters()]
        torch._foreach_lerp_(list(average.parameters()), fresh, 1 - decay)
        spent = (time.monotonic() - started) / (60 * args.minutes)
        if step % 200 == 0:
            seen = psnr(average, held)
            print(f"step {step}  {100 * spent:.0f} %  mse {mse.item():.4f}  held-out {seen:.2f} dB", flush=True)
        if step % 1000 == 0:
            average.save_pretrained(args.out.with_name(args.out.name + "-unfinished"))
    vae = average.eval()
    normalise(vae, train)
    vae.save_pretrained(args.out)
    print(f"done: {step} steps, held-out {psnr(average, held):.2f} dB", flush=True)


if __name__ == "__main__":
    main()
