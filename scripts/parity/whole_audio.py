"""Whole models that put audio features into the text: Qwen2-Audio."""

import torch
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

from recipes import AUDIO, IMAGE_TOKEN, TEXT_SMALL, recipe, rope
from reference import noise_tensor, scramble
from whole import batch, whole

FRAMES = 40


def tokens(frames):
    """Two convolutions, the second with stride two, then pairs are averaged."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def clip(frames):
    return [IMAGE_TOKEN] * tokens(frames)


@recipe
def qwen2_audio(out):
    config = Qwen2AudioConfig(
        audio_config=dict(model_type="qwen2_audio_encoder", **AUDIO),
        text_config=dict(model_type="qwen2", rope_parameters=rope(1e4), **TEXT_SMALL), audio_token_index=IMAGE_TOKEN,
    )
    lengths = torch.tensor([40, 29, 18])
    features = noise_tensor(3, AUDIO["num_mel_bins"], FRAMES)
    rows = [
        [1, 7, *clip(40), 8, *clip(29), 9, 10, 11, 2],
        [1, 12, 13, 14, 15, 2],
        [1, *clip(18), 16, 17, 18, 2],
    ]
    inputs = batch(rows, (3, 4, 3)) | dict(
        input_features=features, feature_attention_mask=(torch.arange(FRAMES) < lengths[:, None]).long(),
    )
    whole(
        out, "qwen2_audio", scramble(Qwen2AudioForConditionalGeneration(config)), inputs,
        about="Qwen2-Audio: clips of 40, 29 and 18 frames, two of them in one row, placeholders expanded; Qwen2",
        mistakes={"tower gelu (tanh)": {"audio_config.activation_function": "gelu_pytorch_tanh"}},
    )
