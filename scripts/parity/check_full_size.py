"""Qwen2-VL-2B-Instruct in its published sizes, with random weights: mmtrain against transformers on a picture and a text.

    .venv/bin/python scripts/parity/check_full_size.py MMTRAIN WORK_DIR [NEW_TOKENS]

transformers makes the checkpoint (bf16, 4.4 GB), computes the logits of a prompt with a picture of 448 x 336 pixels and its
greedy continuation in float32, and writes both beside it; `mmtrain parity` compares them with its own. About 20 GB of
memory, since both compute in float32.
"""

import pathlib
import subprocess
import sys

import torch
from safetensors.torch import save_file
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

import reference

# https://huggingface.co/Qwen/Qwen2-VL-2B-Instruct/blob/main/config.json
IDS = dict(
    vision_start_token_id=151652, vision_end_token_id=151653, vision_token_id=151654, image_token_id=151655,
    video_token_id=151656, bos_token_id=151643, eos_token_id=151645,
)
TEXT = dict(
    hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
    vocab_size=151936, max_position_embeddings=32768, rms_norm_eps=1e-6, use_sliding_window=False,
    rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]),
)
VISION = dict(depth=32, embed_dim=1280, hidden_size=1536, num_heads=16, mlp_ratio=4, patch_size=14)
GRID = torch.tensor([[1, 24, 32]])


def prompt():
    """`<|im_start|>user`, a picture, some words, `<|im_end|>`, in ids."""
    picture = [IDS["vision_start_token_id"], *[IDS["image_token_id"]] * (int(GRID.prod()) // 4), IDS["vision_end_token_id"]]
    ids = [151644, 872, 198, *picture, 3838, 374, 304, 279, 6802, 30, 151645, 198, 151644, 77091, 198]
    return torch.tensor([ids])


def main():
    binary, work, *rest = sys.argv[1:]
    new_tokens, work = int(rest[0]) if rest else 16, pathlib.Path(work)
    torch.manual_seed(0)
    config = Qwen2VLConfig(text_config=TEXT, vision_config=VISION, tie_word_embeddings=True, **IDS)
    reference.restless(Qwen2VLForConditionalGeneration(config).to(torch.bfloat16)).save_pretrained(work)
    # Read again, since tables of rotary positions became bf16 as well.
    model = Qwen2VLForConditionalGeneration.from_pretrained(work, dtype=torch.float32).eval()
    ids = prompt()
    kinds = (ids == IDS["image_token_id"]).int()
    media = dict(
        pixel_values=reference.noise_tensor(int(GRID.prod()), 3 * 2 * 14 * 14), image_grid_thw=GRID, mm_token_type_ids=kinds,
    )
    mask = torch.ones_like(ids)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, **media, use_cache=False).logits
    model.model.rope_deltas = None
    continuation, lead = reference.greedy(model, ids, new_tokens, mask, **media)
    print(f"logits up to {logits.abs().max():.3f}; {new_tokens} tokens, {len(set(continuation[0].tolist()))} of them different, "
          f"each at least {lead:.1e} before the next")
    recorded = {f"in.{name}": tensor for name, tensor in media.items() if name != "mm_token_type_ids"}
    recorded |= {"in.input_ids": ids, "in.attention_mask": mask, "out.logits": logits, "out.generated_ids": continuation}
    save_file({name: tensor.contiguous() for name, tensor in recorded.items()}, work / "io.safetensors")
    del model, logits
    raise SystemExit(subprocess.run([binary, "parity", str(work), "--atol", "1e-4"]).returncode)


if __name__ == "__main__":
    main()
