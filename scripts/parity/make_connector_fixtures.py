"""Makes tests/fixtures/parity_connectors: tiny random connectors of `transformers` with features, tokens and gradients.

    python make_connector_fixtures.py OUT

Each case is a folder: `model.safetensors` with the published keys, `io.safetensors` with `in.features`
[batch, features, vision_hidden], `in.weights` [batch, tokens, hidden], `out.tokens`, `out.features_grad`, and
`grads.safetensors` with the gradients of sum(tokens * weights) under the same keys.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import Blip2QFormerConfig, Blip2QFormerModel, IdeficsConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

from reference import noise_tensor, scramble

BATCH, FEATURES, HIDDEN, QUERIES = 2, 9, 20, 5
WIDTH, VISION_HIDDEN = 16, 12


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


def write(folder, model):
    model = scramble(model)
    features = noise_tensor(BATCH, FEATURES, VISION_HIDDEN).requires_grad_()
    weights = noise_tensor(BATCH, QUERIES, HIDDEN)
    tokens = model(features)
    (tokens * weights).sum().backward()
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(model.named_parameters())
    save_file({k: v.detach().contiguous() for k, v in named.items()}, folder / "model.safetensors")
    save_file({k: v.grad.contiguous() for k, v in named.items()}, folder / "grads.safetensors")
    io = {"in.features": features, "in.weights": weights, "out.tokens": tokens, "out.features_grad": features.grad}
    save_file({k: v.detach().contiguous() for k, v in io.items()}, folder / "io.safetensors")
    print(folder.name, len(named), "tensors, largest output", tokens.abs().max().item())


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    for name, model in {"q_former": QFormer, "perceiver": Perceiver}.items():
        write(pathlib.Path(sys.argv[1]) / name, model())
