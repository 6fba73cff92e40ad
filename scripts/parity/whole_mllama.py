"""Mllama (Llama 3.2 Vision): pictures in tiles, read by cross-attention layers in the language model."""

import torch
from transformers import MllamaConfig, MllamaForConditionalGeneration

import whole
from recipes import TEXT_SMALL, VISION_SMALL, recipe, rope
from reference import noise_tensor, restless, scramble

TILES = 4
# The first of the eight rows of embeddings that have no row in the head.
IMAGE = TEXT_SMALL["vocab_size"]


def pictures(rows):
    """`rows` holds (aspect ratio id, tiles) of each picture; what is missing up to two is padding, as the processor
    pads: no aspect ratio, all zero, and yet its first tile counts as one."""
    side, most = VISION_SMALL["image_size"], max(map(len, rows))
    pixels = noise_tensor(len(rows), most, TILES, 3, side, side)
    ids = torch.zeros(len(rows), most, dtype=torch.long)
    mask = torch.zeros(len(rows), most, TILES, dtype=torch.long)
    mask[..., 0] = 1
    for row, pictures_of_row in enumerate(rows):
        for index in range(most):
            ratio, tiles = pictures_of_row[index] if index < len(pictures_of_row) else (0, 0)
            ids[row, index] = ratio
            mask[row, index, :tiles] = 1
            pixels[row, index, tiles:] = 0
    return dict(pixel_values=pixels, aspect_ratio_ids=ids, aspect_ratio_mask=mask)


def what_tokens_see(ids, rows):
    """A picture is seen from its token up to the next one's. [rows, seq, pictures, tiles]"""
    mask = torch.zeros(*ids.shape, max(map(len, rows)), TILES, dtype=torch.long)
    for row, pictures_of_row in enumerate(rows):
        starts = (ids[row] == IMAGE).nonzero().flatten().tolist()
        for index, (start, end) in enumerate(zip(starts, [*starts[1:], ids.shape[1]], strict=True)):
            mask[row, start:end, index, : pictures_of_row[index][1]] = 1
    return mask


def forward(model, inputs):
    """`cross_attention_states` [rows, pictures, tiles, patches + 1, hidden] is what the projector gives."""
    states = []
    handle = model.model.multi_modal_projector.register_forward_hook(lambda _, args, output: states.append(output))
    try:
        outputs = whole.forward(model, inputs)
    finally:
        handle.remove()
    tiles = inputs["aspect_ratio_mask"]
    states = states[0].reshape(*tiles.shape, -1, states[0].shape[-1])
    return outputs | {"cross_attention_states": states * tiles[..., None, None]}


@recipe
def mllama(out):
    vision = dict(
        hidden_size=16, num_hidden_layers=3, num_global_layers=2, attention_heads=2, intermediate_size=24,
        image_size=VISION_SMALL["image_size"], patch_size=VISION_SMALL["patch_size"], max_num_tiles=TILES,
        intermediate_layers_indices=[0, 1], vision_output_dim=48,
    )
    scaling = dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
    )
    text = TEXT_SMALL | dict(
        intermediate_size=32, num_hidden_layers=4, cross_attention_layers=[1, 3], rope_parameters=rope(5e5, **scaling),
    )
    config = MllamaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    # Two pictures of 1 x 2 and 2 x 1 tiles; text before a picture of one tile.
    shapes = [[(2, 2), (5, 2)], [(1, 1)]]
    inputs = whole.batch([[IMAGE, 1, 5, 6, IMAGE, 7, 8, 9, 10, 2], [1, 11, 12, IMAGE, 13, 14, 2]], (4, 3))
    inputs |= pictures(shapes) | dict(cross_attention_mask=what_tokens_see(inputs["input_ids"], shapes))
    whole.whole(
        out, "mllama", restless(scramble(MllamaForConditionalGeneration(config), seed=15)), inputs, forward=forward,
        about="Llama 3.2 Vision: tiles, gated tower, cross-attention layers; two pictures, and text before a picture",
        mistakes={
            "tower gelu (tanh)": {"vision_config.hidden_act": "gelu_pytorch_tanh"},
            "intermediate layers 0 and 2": {"vision_config.intermediate_layers_indices": [0, 2]},
            "rope not scaled": {"text_config.rope_parameters.rope_type": "default"},
        },
    )
