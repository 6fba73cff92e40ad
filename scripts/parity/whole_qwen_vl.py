"""Whole models whose positions have three rows: Qwen2-VL and Qwen2.5-VL, with images and a video.

Grids are such that transformers 4 and 5 agree: 4 goes on behind the largest of all positions of a picture or video, 5
behind the largest of its rows and columns, so time must not be longer than these. For Qwen2.5-VL, 4 cuts the seconds
per grid down to an integer, so they are one.
"""

import torch
from transformers import (
    Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLForConditionalGeneration,
)

from recipes import IMAGE_TOKEN, TEXT_SMALL, VIDEO_TOKEN, recipe, rope
from reference import noise_tensor, restless, scramble
from whole import batch, whole

START, END = 72, 73
# Heads of 8: one rotary frequency is of time, one of rows, two of columns. At the published theta of 1e6 the last two
# would turn by 0.001 and less from column to column, and nobody could tell one column from another.
TEXT = TEXT_SMALL | dict(rope_parameters=rope(50.0, mrope_section=[1, 1, 2]))
IDS = dict(
    image_token_id=IMAGE_TOKEN, video_token_id=VIDEO_TOKEN, vision_start_token_id=START, vision_end_token_id=END,
)
PATCH = 4
MISTAKES = {
    "rows and columns swapped": {"text_config.rope_parameters.mrope_section": [1, 2, 1]},
    "rope_theta 1e4": {"text_config.rope_parameters.rope_theta": 1e4},
}


def medium(token, grid):
    return [START, *[token] * (grid.prod().item() // 4), END]


def patches(grids, seed):
    """The patches of all grids: pairs of frames, channels, rows, columns. [patches, 3 * 2 * 4 * 4]"""
    return noise_tensor(grids.prod(-1).sum().item(), 3 * 2 * PATCH * PATCH, seed=seed)


def rows_with_media(image_grids, video_grid):
    """An image and a video; two images; text alone. Loss on the answers."""
    first, second, third = (medium(IMAGE_TOKEN, grid) for grid in image_grids)
    rows = [
        [5, *first, 6, *medium(VIDEO_TOKEN, video_grid), 7, 8, 9, 2],
        [10, *second, 11, 12, *third, 13, 14, 15, 2],
        [16, 17, 18, 19, 20, 2],
    ]
    media = dict(
        pixel_values=patches(image_grids, 1), image_grid_thw=image_grids,
        pixel_values_videos=patches(video_grid[None], 2), video_grid_thw=video_grid[None],
    )
    return batch(rows, (3, 3, 4)) | media


@recipe
def qwen2_vl(out):
    vision = dict(depth=2, embed_dim=16, hidden_size=24, num_heads=2, mlp_ratio=2, patch_size=PATCH)
    config = Qwen2VLConfig(text_config=TEXT, vision_config=vision, tie_word_embeddings=True, **IDS)
    inputs = rows_with_media(torch.tensor([[1, 4, 6], [1, 6, 4], [1, 4, 4]]), torch.tensor([2, 4, 4]))
    whole(
        out, "qwen2_vl", restless(scramble(Qwen2VLForConditionalGeneration(config), seed=3)), inputs, mistakes=MISTAKES,
        about="Qwen2-VL: an image and a video in one row, two images in another, text alone; tied head; flat config",
    )


@recipe
def qwen2_5_vl(out):
    vision = dict(
        depth=3, hidden_size=16, out_hidden_size=24, intermediate_size=20, num_heads=2, patch_size=PATCH, window_size=16,
        fullatt_block_indexes=[1], tokens_per_second=2,
    )
    config = Qwen2_5_VLConfig(text_config=TEXT, vision_config=vision, tie_word_embeddings=False, **IDS)
    inputs = rows_with_media(torch.tensor([[1, 4, 6], [1, 6, 10], [1, 4, 4]]), torch.tensor([2, 12, 4]))
    inputs |= dict(second_per_grid_ts=torch.tensor([2.0]))
    mistakes = MISTAKES | {
        "no windows": {"vision_config.fullatt_block_indexes": [0, 1, 2]},
        "time of one second per grid": {"vision_config.tokens_per_second": 1},
    }
    whole(
        out, "qwen2_5_vl", scramble(Qwen2_5_VLForConditionalGeneration(config)), inputs, mistakes=mistakes,
        about="Qwen2.5-VL: windows of 2 x 2 merged patches, time in seconds; rows as in qwen2_vl; own head; flat config",
    )
