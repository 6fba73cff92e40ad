"""Runs a reference model and records what a fixture needs: outputs, gradients, noise, sensitivity.

Everything is float32 on one CPU thread with eager attention; the same seeds give the same bytes.
"""

import contextlib
import copy
import functools

import torch
import torch.nn.functional as F
import transformers

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def versions():
    """The line that a META.toml states as its reference."""
    return (
        f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, "
        "cpu, float32, eager attention, one thread"
    )


def version_5():
    return int(transformers.__version__.split(".")[0]) >= 5


def generator(seed):
    return torch.Generator().manual_seed(seed)


def noise_tensor(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed))


@torch.no_grad()
def scramble(model, seed=0, std=0.08):
    """Overwrites every parameter, in the order of sorted names.

    Zero-initialised biases, unit norms and tiny ranges would otherwise hide a mistake.
    """
    g = generator(seed)
    for name, p in sorted(model.named_parameters()):
        r = torch.randn(p.shape, generator=g)
        is_norm = p.ndim == 1 and name.endswith(("weight", "lambda1"))
        # A single number is a gate, which at 0.08 would let next to nothing through.
        p.copy_(1.0 + 0.2 * r if is_norm else 0.5 * r if p.numel() == 1 else std * r)
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return model.eval()


@torch.no_grad()
def restless(model):
    """Turns the sign of every second number that the output projection reads, and doubles what the decoder's layers write.

    A random decoder with a tied head, and many a one without, says its last token again and again: that token's row of the
    table is what the residual stream has most of. A continuation of one token would hide mistakes of the cache.
    """
    decoder = {name: p for name, p in model.named_parameters() if "vis" not in name}
    norm, = (p for name, p in decoder.items() if name.endswith(".norm.weight"))
    norm[::2] *= -1
    for name, p in decoder.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            p.mul_(2)
    return model


# What writes into the residual stream; the norms read nothing else.
RESIDUAL_WRITERS = (
    "embed_tokens.weight", "patch_embedding.weight", "patch_embedding.bias", "position_embedding.weight",
    "class_embedding", "pre_layrnorm.weight", "pre_layrnorm.bias", "o_proj.weight", "out_proj.weight",
    "out_proj.bias", "down_proj.weight", "fc2.weight", "fc2.bias",
    # DINOv2 and BLIP-2's tower, Qwen2-VL's, Whisper's.
    "projection.weight", "projection.bias", "position_embeddings", "cls_token", "o_proj.bias", "down_proj.bias",
    "position_embedding", "attn.proj.weight", "attn.proj.bias", "patch_embed.proj.weight",
    "conv2.weight", "conv2.bias", "embed_positions.weight",
)


@torch.no_grad()
def quiet(model, scale):
    """Scales the residual stream down until its variance is near the epsilon of the norms.

    At ordinary scale an epsilon ten times too large moves the outputs by less than the tolerance.
    """
    for name, p in model.named_parameters():
        if name.endswith(RESIDUAL_WRITERS):
            p.mul_(scale)
    return model


@torch.no_grad()
def round_to(model, dtype):
    """Rounds every parameter to `dtype` and keeps computing in float32."""
    for p in model.parameters():
        p.copy_(p.to(dtype).float())
    return model


@torch.no_grad()
def run(model, forward, inputs, attention="eager"):
    model.set_attn_implementation(attention)
    outputs = forward(model, inputs)
    model.set_attn_implementation("eager")
    return outputs


@contextlib.contextmanager
def wide_softmax():
    """transformers asks for a float32 softmax by name; here it keeps the type of its input."""
    softmax = F.softmax
    F.softmax = functools.wraps(softmax)(lambda x, dim=None, dtype=None, **_: softmax(x, dim=dim))
    try:
        yield
    finally:
        F.softmax = softmax


def widen(model, inputs):
    """Model and inputs in float64. RMSNorm and the rotary tables of transformers stay in float32 inside."""
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    return copy.deepcopy(model).double(), inputs


def run_f64(model, forward, inputs):
    model, inputs = widen(model, inputs)
    with wide_softmax():
        return run(model, forward, inputs)


def max_difference(a, b):
    return max((a[k].double() - b[k].double()).abs().max().item() for k in a)


def measure_noise(model, forward, inputs, outputs):
    """How far two right answers lie apart."""
    return {
        "eager_vs_sdpa": max_difference(outputs, run(model, forward, inputs, "sdpa")),
        "f32_vs_f64": max_difference(outputs, run_f64(model, forward, inputs)),
    }


def with_config(model, changes):
    """A copy of `model` whose config says something else; the weights are the same.

    What no config says is changed by a function of the copy.
    """
    if callable(changes):
        other = copy.deepcopy(model)
        changes(other)
        return other
    config = copy.deepcopy(model.config)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = config
        for part in parents:
            node = node[part] if isinstance(node, dict) else getattr(node, part)
        if isinstance(node, dict):
            node[last] = value
        else:
            setattr(node, last, value)
    other = type(model)(config)
    other.load_state_dict(model.state_dict())
    return other.eval()


def measure_sensitivity(model, forward, inputs, outputs, mistakes):
    """How far each named mistake moves the outputs: what the fixture can and cannot catch."""
    return {
        name: max_difference(outputs, run(with_config(model, changes), forward, inputs))
        for name, changes in mistakes.items()
    }


def gradient_model(model, forward, inputs):
    """A copy of `model` whose parameters are d(loss)/d(parameter); zero where the loss does not reach."""
    twin = copy.deepcopy(model)
    twin.set_attn_implementation("eager")
    forward(twin, inputs)["loss"].sum().backward()
    with torch.no_grad():
        for p in twin.parameters():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
            p.grad = None
    return twin


# A bias on the keys moves all scores of a row alike, so its gradient is zero but for rounding (1e-11).
SMALLEST_GRADIENT = 1e-6


def relative_difference(actual, expected):
    """The largest difference in units of the largest gradient of the same tensor, of all pairs of tensors."""
    return max(
        ((a - e).abs().max() / e.abs().max()).item()
        for a, e in zip(actual, expected, strict=True)
        if e.abs().max() > SMALLEST_GRADIENT
    )


def measure_gradient_noise(twin, model, forward, inputs):
    """Between the gradients in float32 (`twin`) and in float64: absolute, and relative to the largest of a tensor."""
    model, inputs = widen(model, inputs)
    with wide_softmax():
        wide = [p.detach() for p in gradient_model(model, forward, inputs).parameters()]
    narrow = [p.detach().double() for p in twin.parameters()]
    return {
        "f32_vs_f64": max((a - b).abs().max().item() for a, b in zip(narrow, wide, strict=True)),
        "f32_vs_f64_relative": relative_difference(narrow, wide),
        "largest": max(b.abs().max().item() for b in wide),
    }


@torch.no_grad()
def greedy(model, prompt_ids, new_tokens=64, attention_mask=None, **media):
    """The greedy continuation without its prompt, and the smallest lead of a chosen token over the next best."""
    model.set_attn_implementation("eager")
    for part in model.modules():  # BLIP-2 leaves generating to its language model, which has settings of its own
        if getattr(part, "generation_config", None) is not None:
            part.generation_config.eos_token_id = None
    mask = torch.ones_like(prompt_ids) if attention_mask is None else attention_mask
    out = model.generate(
        input_ids=prompt_ids, attention_mask=mask, max_new_tokens=new_tokens,
        do_sample=False, pad_token_id=0, output_scores=True, return_dict_in_generate=True, **media,
    )
    top = torch.stack(out.scores).topk(2, dim=-1).values
    return out.sequences[:, -new_tokens:], (top[..., 0] - top[..., 1]).min().item()
