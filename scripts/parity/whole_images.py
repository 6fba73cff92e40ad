"""Whole models that put image features into the text: LLaVA-NeXT, BLIP-2, InstructBLIP, Idefics3, SmolVLM."""

import torch
from transformers import (
    Blip2Config, Blip2ForConditionalGeneration, CLIPVisionConfig, Idefics3Config, Idefics3ForConditionalGeneration,
    InstructBlipConfig, InstructBlipForConditionalGeneration, LlamaConfig, LlavaNextConfig,
    LlavaNextForConditionalGeneration, SmolVLMConfig, SmolVLMForConditionalGeneration,
)

from recipes import IMAGE_TOKEN, TEXT_SMALL, VISION_SMALL, recipe
from reference import noise_tensor, restless, scramble
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


# ---- Q-Formers

QUERIES = 6
Q_FORMER = dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, vocab_size=40,
    max_position_embeddings=12, cross_attention_frequency=2, encoder_hidden_size=VISION_SMALL["hidden_size"],
)
LLAMA = dict(model_type="llama", rms_norm_eps=1e-5, tie_word_embeddings=False) | TEXT_SMALL


def q_former_rows():
    """One picture, none, two."""
    rows = [
        [*image(QUERIES), 1, 7, 8, 9, 10, 2],
        [1, 11, 12, 13, 14, 2],
        [*image(QUERIES), 15, *image(QUERIES), 1, 16, 17, 18, 2],
    ]
    return batch(rows, (3, 4, 3)) | dict(pixel_values=noise_tensor(3, 3, SIDE, SIDE))


def q_former_config(config_class):
    return config_class(
        vision_config=VISION_SMALL, qformer_config=Q_FORMER, text_config=LLAMA, num_query_tokens=QUERIES,
        image_token_index=IMAGE_TOKEN,
    )


@recipe
def blip2(out):
    whole(
        out, "blip2", scramble(Blip2ForConditionalGeneration(q_former_config(Blip2Config))), q_former_rows(),
        about="BLIP-2: EVA tower, Q-Former with cross-attention in layers 0 and 2, Llama",
        mistakes={
            "Q-Former gelu (tanh)": {"qformer_config.hidden_act": "gelu_pytorch_tanh"},
            "Q-Former layer_norm_eps 1e-5": {"qformer_config.layer_norm_eps": 1e-5},
        },
    )


@recipe
def instructblip(out):
    # What the Q-Former is asked about each picture; padded on the right, as BERT's tokenizer does.
    asked = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0], [11, 12, 13, 14, 0]])
    inputs = q_former_rows() | dict(qformer_input_ids=asked, qformer_attention_mask=(asked != 0).long())
    model = scramble(InstructBlipForConditionalGeneration(q_former_config(InstructBlipConfig)))
    whole(
        out, "instructblip", model, inputs,
        about="InstructBLIP: queries and a padded instruction share the Q-Former, each with feed-forward layers of its own",
        mistakes={"Q-Former gelu (tanh)": {"qformer_config.hidden_act": "gelu_pytorch_tanh"}},
    )


# ---- tiles with markers between them

FAKE, GLOBAL, NEWLINE = 71, 72, 6
PER_TILE = 4


def tile_marker(row, column):
    return 73 + 2 * row + column


def tiled(rows, columns):
    """Tiles row by row, each behind its marker, then the whole picture; or only that. As the processors write it."""
    ids = []
    for row in range(rows):
        for column in range(columns):
            ids += [FAKE, tile_marker(row, column), *image(PER_TILE)]
        ids.append(NEWLINE)
    return [*ids, *([NEWLINE] if ids else []), FAKE, GLOBAL, *image(PER_TILE), FAKE]


def tiled_rows():
    """A picture in 2 x 2 tiles and a whole one; none; one in 1 x 2 tiles. Rows have 6, 0 and 3 tiles."""
    rows = [
        [1, 7, *tiled(2, 2), 8, *tiled(0, 0), 9, 10, 11, 2],
        [1, 12, 13, 14, 15, 2],
        [1, *tiled(1, 2), 16, 17, 18, 2],
    ]
    return batch(rows, (3, 4, 3)) | dict(pixel_values=tiles((6, 0, 3), 6))


def tiled_case(out, name, config_class, model_class, about, **text):
    config = config_class(
        vision_config=VISION_SMALL, text_config=LLAMA | text, scale_factor=2, image_token_id=IMAGE_TOKEN,
        pad_token_id=0, tie_word_embeddings=text.get("tie_word_embeddings", False),
    )
    mistakes = {"tower gelu (erf)": {"vision_config.hidden_act": "gelu"}}
    if config.tie_word_embeddings:
        model = restless(scramble(model_class(config), seed=19))
    else:
        model = scramble(model_class(config))
    whole(out, name, model, tiled_rows(), about=about, mistakes=mistakes)


@recipe
def idefics3(out):
    tiled_case(
        out, "idefics3", Idefics3Config, Idefics3ForConditionalGeneration,
        "Idefics3: tiles with markers, padding tiles dropped, 2 x 2 patches shuffled into one token, Llama",
    )


@recipe
def smolvlm(out):
    tiled_case(
        out, "smolvlm", SmolVLMConfig, SmolVLMForConditionalGeneration,
        "SmolVLM: as idefics3, with a tied head", tie_word_embeddings=True,
    )
