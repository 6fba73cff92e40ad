"""Makes tests/fixtures/parity_connectors: tiny random connectors of `transformers` with features, tokens and gradients.

    python make_connector_fixtures.py OUT

Each case is a folder: `model.safetensors` with the published keys, `io.safetensors` with `in.features`
[batch, features, vision_hidden], `in.weights` [batch, tokens, hidden], `out.tokens`, `out.features_grad`, and
`grads.safetensors` with the gradients of sum(tokens * weights) under the same keys.

`instruct_q_former` is InstructBLIP's, with `in.input_ids` and `in.attention_mask` [batch, len] besides: the instruction of
row 1 is shorter.

`cross_attention` is a layer of Mllama: `in.x` [batch, tokens, hidden], `in.memory` [batch, media * tiles * keys, hidden],
`in.mask` [batch, tokens, media, tiles], `in.weights` and `out.x` as `in.x`, `out.x_grad`, `out.memory_grad`. Row 0 has a
token before its first image, and one tile of its second is padding; row 1 has one image of one tile.
`latest_media` has no model: `in.markers` [rows, tokens], one at a marker of a medium, and `out.mask` [rows, tokens, media],
what `processing_mllama.py` makes of it.
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    Blip2QFormerConfig, Blip2QFormerModel, IdeficsConfig, InstructBlipQFormerConfig, InstructBlipQFormerModel,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaCrossAttentionDecoderLayer, _prepare_cross_attention_mask
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from reference import noise_tensor, scramble

BATCH, FEATURES, HIDDEN, QUERIES = 2, 9, 20, 5
WIDTH, VISION_HIDDEN = 16, 12
TOKENS, MEDIA, TILES, KEYS = 7, 2, 2, 3
IMAGE = 1


class QFormer(torch.nn.Module):
    """The parts of Blip2Model between tower and language model."""

    def __init__(self):
        super().__init__()
        config = Blip2QFormerConfig(
            hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
            cross_attention_frequency=2, encoder_hidden_size=VISION_HIDDEN, attn_implementation="eager",
        )
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, QUERIES, WIDTH))
        self.qformer = Blip2QFormerModel(config).eval()
        self.language_projection = torch.nn.Linear(WIDTH, HIDDEN)

    def forward(self, features):
        queries = self.query_tokens.expand(features.shape[0], -1, -1)
        out = self.qformer(query_embeds=queries, encoder_hidden_states=features)
        return self.language_projection(out.last_hidden_state)


class InstructQFormer(torch.nn.Module):
    """The parts of InstructBlipModel between tower and language model."""

    def __init__(self):
        super().__init__()
        config = InstructBlipQFormerConfig(
            vocab_size=11, max_position_embeddings=6, hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=24, cross_attention_frequency=2, encoder_hidden_size=VISION_HIDDEN,
            attn_implementation="eager",
        )
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, QUERIES, WIDTH))
        self.qformer = InstructBlipQFormerModel(config).eval()
        self.language_projection = torch.nn.Linear(WIDTH, HIDDEN)
        self.instruction = {
            "in.input_ids": torch.tensor([[3, 10, 7, 3], [5, 1, 0, 0]]),
            "in.attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        }

    def forward(self, features):
        queries = self.query_tokens.expand(features.shape[0], -1, -1)
        ids, mask = self.instruction.values()
        mask = torch.cat([torch.ones(queries.shape[:2], dtype=mask.dtype), mask], dim=1)
        out = self.qformer(ids, mask, query_embeds=queries, encoder_hidden_states=features)
        return self.language_projection(out.last_hidden_state[:, :QUERIES])


class Perceiver(torch.nn.Module):
    """Idefics' resampler, with a projection of the features before it and one of the latents after it."""

    def __init__(self):
        super().__init__()
        config = IdeficsConfig(vision_config=dict(embed_dim=WIDTH), perceiver_config=dict(qk_layer_norms_perceiver=False))
        resampler = IdeficsPerceiverResampler(config, WIDTH, 2, 4, 6, QUERIES)
        self.latents, self.blocks, self.layer_norm = resampler.latents, resampler.blocks, resampler.layer_norm
        self.features_projection = torch.nn.Linear(VISION_HIDDEN, WIDTH)
        self.language_projection = torch.nn.Linear(WIDTH, HIDDEN)
        self.resampler = [resampler]  # not a submodule: its parameters are already there

    def forward(self, features):
        return self.language_projection(self.resampler[0](self.features_projection(features)))


def save(folder, model, io):
    """Parameters, their gradients, inputs and outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(model.named_parameters())
    save_file({k: v.detach().contiguous() for k, v in named.items()}, folder / "model.safetensors")
    save_file({k: v.grad.contiguous() for k, v in named.items()}, folder / "grads.safetensors")
    save_file({k: v.detach().contiguous() for k, v in io.items()}, folder / "io.safetensors")


def write(folder, model):
    model = scramble(model)
    features = noise_tensor(BATCH, FEATURES, VISION_HIDDEN).requires_grad_()
    weights = noise_tensor(BATCH, QUERIES, HIDDEN)
    tokens = model(features)
    (tokens * weights).sum().backward()
    io = {"in.features": features, "in.weights": weights, "out.tokens": tokens, "out.features_grad": features.grad}
    save(folder, model, io | getattr(model, "instruction", {}))
    print(folder.name, len(list(model.parameters())), "tensors, largest output", tokens.abs().max().item())


def media_mask(rows, tiles, max_tiles):
    """[rows, tokens, media, tiles] of rows of token ids, as MllamaProcessor makes it."""
    sparse = [get_cross_attention_token_mask(row, IMAGE) for row in rows]
    return convert_sparse_cross_attention_mask_to_dense(sparse, tiles, max_tiles, len(rows[0]))


def cross_attention_layer():
    config = MllamaTextConfig(
        hidden_size=HIDDEN, intermediate_size=28, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2,
        cross_attention_layers=[0], rms_norm_eps=1e-5, vocab_size=32, attn_implementation="eager",
    )
    layer = scramble(MllamaCrossAttentionDecoderLayer(config, 0), std=0.25)
    with torch.no_grad():
        layer.cross_attn_attn_gate.fill_(0.7)
        layer.cross_attn_mlp_gate.fill_(-0.4)
    return layer


def write_cross_attention(folder):
    layer = cross_attention_layer()
    ids = [[0, IMAGE, 0, 0, IMAGE, 0, 0], [IMAGE, 0, 0, 0, 0, 0, 0]]
    dense = torch.from_numpy(media_mask(ids, [[2, 1], [1]], TILES))
    mask, sees = _prepare_cross_attention_mask(dense, KEYS, torch.float32)
    x = noise_tensor(BATCH, TOKENS, HIDDEN, seed=2).requires_grad_()
    memory = noise_tensor(BATCH, MEDIA * TILES * KEYS, HIDDEN, seed=3).requires_grad_()
    weights = noise_tensor(BATCH, TOKENS, HIDDEN, seed=4)
    out = layer(x, memory, mask, None, sees)
    (out * weights).sum().backward()
    io = {"in.x": x, "in.memory": memory, "in.mask": dense, "in.weights": weights, "out.x": out}
    save(folder, layer, io | {"out.x_grad": x.grad, "out.memory_grad": memory.grad})
    print(folder.name, "largest change", (out - x).abs().max().item(), "without a mask", unmasked(layer, x, memory, out))


def unmasked(layer, x, memory, out):
    """How far the outputs move when nothing is hidden: what the fixture can catch."""
    return (layer(x, memory, None, None, None) - out).abs().max().item()


def write_latest_media(folder):
    places = [[0], [2, 5], [1, 2, 5], [], [1, 2, 3, 6, 7]]
    ids = np.zeros((len(places), 8), dtype=np.int64)
    for row, at in zip(ids, places):
        row[at] = IMAGE
    mask = media_mask(ids.tolist(), [[1] * len(at) for at in places], 1)
    folder.mkdir(parents=True, exist_ok=True)
    io = {"in.markers": ids, "out.mask": mask.squeeze(-1)}
    save_file({k: torch.from_numpy(v).contiguous() for k, v in io.items()}, folder / "io.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    for name, model in {"q_former": QFormer, "instruct_q_former": InstructQFormer, "perceiver": Perceiver}.items():
        write(out / name, model())
    write_cross_attention(out / "cross_attention")
    write_latest_media(out / "latest_media")
