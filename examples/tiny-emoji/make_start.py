"""Make the folder that the base starts from: VAE, tokenizer, untrained text encoder, noise schedule; no UNet.

    python make_start.py --vae vae --names twitter/emoji.json --out start

The vocabulary is byte-pair encoding learned from the names of all emoji, with CLIP's own rules (lower case, words
end in </w>).
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH, VOCABULARY, WIDTH = 16, 2048, 160
START, END = "<|startoftext|>", "<|endoftext|>"
OTHER_WORDS = ["a", "an", "the", "of", "with", "and", "on", "in", "photo", "picture", "emoji", "white", "small"]


def learn_tokenizer(texts: list[str]) -> CLIPTokenizer:
    """Return a CLIP tokenizer whose merges were learned from the texts."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(f"{c}</w>" for c in alphabet), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the tokenizer for transformers 5 (tokenizer.json) and 4 (vocab.json, merges.txt)."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("vae", "names", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    names = [e["name"].lower() for e in json.loads(args.names.read_text()) if e["category"] != "Flags"]
    tokenizer = learn_tokenizer(names + OTHER_WORDS)
    torch.manual_seed(0)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )
    AutoencoderKL.from_pretrained(args.vae).save_pretrained(args.out / "vae")
    text_encoder.save_pretrained(args.out / "text_encoder")
    save_tokenizer(tokenizer, args.out / "tokenizer")
    scheduler.save_pretrained(args.out / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "requires_safety_checker": False,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": [None, None],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    }
    (args.out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    size = sum(p.numel() for p in text_encoder.parameters())
    print(f"vocabulary {len(tokenizer)}; text encoder {size:,} parameters; 'red apple': {tokenizer('red apple')}")


if __name__ == "__main__":
    main()
