"""Whole models on rows of text with different numbers of media: batch, outputs, continuation.

Rows are padded on the left, so that the same batch can be continued: `out.generated_ids` [rows, 64] continues every
row of `in.input_ids` with its media, which stand in `in.*` in the order of their placeholders, row by row.
"""

import contextlib

import torch

import reference
from fixture import write_case
from recipes import IMAGE_TOKEN, VIDEO_TOKEN

NEW_TOKENS = 64
PAD, IGNORED = 0, -100


def batch(rows, supervised):
    """Left-padded `input_ids`, `attention_mask` and `labels`; loss on the last `supervised[row]` tokens of a row."""
    length = max(map(len, rows))
    ids = torch.tensor([[PAD] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    labels = ids.clone()
    for row, count in enumerate(supervised):
        labels[row, : length - count] = IGNORED
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def media_of(model, inputs):
    """What a forward pass and a generation take beside ids, mask and labels."""
    media = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask", "labels")}
    return media | token_types(model, inputs["input_ids"])


def token_types(model, ids):
    """Qwen2-VL of transformers 5 is told which tokens are text (0), image (1) and video (2)."""
    if not model.config.model_type.startswith("qwen2") or not hasattr(model.config, "video_token_id"):
        return {}
    if not reference.version_5():
        return {}
    return dict(mm_token_type_ids=(ids == IMAGE_TOKEN).long() + 2 * (ids == VIDEO_TOKEN).long())


@contextlib.contextmanager
def spliced_embeddings(model):
    """Collects what the language model is given: the embeddings with the media in their places."""
    seen = []
    language_model = next(m for m in model.modules() if hasattr(m, "embed_tokens"))
    hook = lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"])
    handle = language_model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def forward(model, inputs):
    """`image_features`, `video_features`, `audio_features` [tokens, hidden] are what stands at the placeholders, row by row."""
    text = {k: inputs[k] for k in ("input_ids", "attention_mask", "labels")}
    forget_positions(model)
    with spliced_embeddings(model) as seen:
        r = model(**text, **media_of(model, inputs), use_cache=False)
    logits = r.logits * text["attention_mask"][..., None]
    return {"logits": logits, "loss": r.loss.reshape(1)} | features(inputs, seen[0])


def features(inputs, embeds):
    """By the input that they come from. Mllama has no placeholders."""
    kinds = {
        "input_features": ("audio_features", IMAGE_TOKEN), "pixel_values": ("image_features", IMAGE_TOKEN),
        "pixel_values_videos": ("video_features", VIDEO_TOKEN),
    }
    if "cross_attention_mask" in inputs:
        return {}
    return {name: embeds[inputs["input_ids"] == token] for source, (name, token) in kinds.items() if source in inputs}


def forget_positions(model):
    """Qwen2-VL keeps how far positions lag behind indices from one call to the next."""
    if hasattr(getattr(model, "model", None), "rope_deltas"):
        model.model.rope_deltas = None


def generate(model, inputs):
    forget_positions(model)
    return reference.greedy(
        model, inputs["input_ids"], NEW_TOKENS, inputs["attention_mask"], **media_of(model, inputs)
    )


def whole(out, name, model, inputs, *, forward=forward, **case):
    write_case(out, name, model, inputs, forward, generate=generate, grads=True, **case)
