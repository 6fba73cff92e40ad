"""Whole models that put image features into the text: LLaVA-NeXT, BLIP-2, InstructBLIP, Idefics3, SmolVLM."""

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from recipes import IMAGE_TOKEN, TEXT_SMALL, VISION_SMALL, recipe
from reference import noise_tensor, scramble
from whole import batch, whole

SIDE = VISION_SMALL["image_size"]


def image(tokens):
    return [IMAGE_TOKEN] * tokens


def tiles(counts, most):
    """Noise for `counts[image]` tiles; zero up to `most`. [images, most, 3, side, side]"""
    pixels = noise_tensor(len(counts), most, 3, SIDE, SIDE)
    for index, count in enumerate(counts):
        pixels[index, count:] = 0
    return pixels


@recipe
def llava_next(out):
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION_SMALL), text_config=LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5),
        image_token_index=IMAGE_TOKEN, image_seq_length=16, vision_feature_layer=-2,
        image_grid_pinpoints=[[20, 40], [40, 20], [40, 40], [20, 60]],
    )
    # Height and width of the originals. Of a canvas of 4 x 4 features per tile remain: of 2 x 2 tiles 8 rows and 6 of
    # 8 columns; of 1 x 3 tiles 4 rows and 10 of 12 columns; of 2 x 2 tiles 6 of 8 rows (5.6 hold picture).
    sizes = torch.tensor([[40, 30], [19, 50], [25, 36]])
    counts, lengths = (5, 4, 5), (16 + 8 * 7, 16 + 4 * 11, 16 + 6 * 9)
    rows = [
        [1, 7, *image(lengths[0]), 9, *image(lengths[1]), 10, 11, 12, 2],
        [1, 13, 14, 15, 16, 17, 2],
        [1, *image(lengths[2]), 18, 19, 20, 2],
    ]
    whole(
        out, "llava_next", scramble(LlavaNextForConditionalGeneration(config)),
        batch(rows, (3, 4, 3)) | dict(pixel_values=tiles(counts, max(counts)), image_sizes=sizes),
        about="LLaVA-NeXT: tiles of three pictures of different shape, padding cut off, a newline behind every row",
        mistakes={
            "second to last layer is the last": {"vision_feature_layer": -1},
            "projector gelu (tanh)": {"projector_hidden_act": "gelu_pytorch_tanh"},
        },
    )
