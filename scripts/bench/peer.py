"""The peer's side of a benchmark row: the same shapes in PyTorch, transformers, PEFT and TRL's way of DPO; torchvision for pictures.

    python scripts/bench/peer.py ROW[:N][+WAY] [--steps N] [--warmup N] [--device cpu|cuda] [--small]

Rows, and how many rows or tokens N a step has, are those of `mmtrain bench`. WAY is `compile` for a model that torch.compile takes, `liger` for one
with Liger's kernels (on a GPU), both with `compile_liger`, or `trl` for TRL's own trainer. Prints one line of JSON: seconds of each step, tokens of a step, peak resident memory, and what
PyTorch's allocator took of a GPU.
Weights and inputs are random; as many threads as cores unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import contextlib
import inspect
import json
import math
import resource
import time

import peer_parts
import torch
from peer_parts import clip, held, ids, qwen2, qwen2_1b5, qwen2_vl_text, readied, rows, siglip, small, smol, trainer, vicuna
from peer_training import alignment, pairs, text

torch.manual_seed(0)


def decoder(count=4):
    """A decoder trained whole: rows of 256 tokens."""
    return text(small(), count, 256, 256)


def vit(count=8):
    """A tower forward."""
    from transformers import SiglipVisionModel

    model = readied(SiglipVisionModel(siglip()).eval())
    pixels = torch.rand(count, 3, 224, 224)

    def step():
        with torch.no_grad():
            model(pixel_values=pixels)

    return step, count * 196


def vlm(count=4):
    """Caption alignment: tower and decoder frozen, the connector trained; rows of a picture and 60 tokens."""
    return alignment(siglip(), -1, "full", smol(), count, 60)


def lora(count=4):
    """LoRA of rank 16 in every linear layer of a 135 M decoder; rows of 256 tokens, a quarter of them learned."""
    return text(smol(), count, 256, 64, adapters=True)


def dpo(count=4):
    return pairs(small(), count, 192, 64)


def nanovlm(count=64):
    """A tower, squares of four patches through one linear layer, and a decoder, trained whole: rows of 49 + 79 tokens."""
    from transformers import LlamaForCausalLM, SiglipVisionModel

    count, tower, language = rows(count), siglip(), smol()

    class NanoVlm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = SiglipVisionModel(tower)
            self.connector = torch.nn.Linear(4 * tower.hidden_size, language.hidden_size, bias=False)
            self.decoder = LlamaForCausalLM(language)

        def forward(self, pixels, x, labels):
            patches = self.tower(pixel_values=pixels).last_hidden_state
            squares = patches.unflatten(1, (7, 2, 7, 2)).transpose(2, 3).flatten(3).flatten(1, 2)
            embeds = torch.cat([self.connector(squares), self.decoder.get_input_embeddings()(x[:, 49:])], 1)
            return self.decoder(inputs_embeds=embeds, labels=labels, use_cache=False).loss

    model = readied(NanoVlm().train())
    update = trainer(model)
    pixels, x = torch.rand(count, 3, 224, 224), ids(language.vocab_size, count, 128)
    labels = x.clone()
    labels[:, :49] = -100
    return (lambda: update(model(pixels, x, labels))), x.numel()


def llava_align(count=16):
    """LLaVA-1.5-7B's first stage: the connector trained; rows of 576 + 50 tokens."""
    return alignment(clip(), -2, "default", vicuna(), count, 50)


def lora_7b(count=1):
    """LoRA of rank 16 in a decoder of 7 B: rows of 4,096 tokens, a quarter of them learned."""
    return text(vicuna(), count, 4096, 1024, adapters=True)


def qwen2_vl(count=8):
    """Qwen2-VL-2B, its tower frozen and all else trained: rows of 512 tokens with pictures of four sizes."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    scale = 4 if peer_parts.SMALL else 1
    language = qwen2_vl_text()
    language = {
        **language,
        **({"num_hidden_layers": 2, "vocab_size": 1024} if peer_parts.SMALL else {}),
        "hidden_size": language["hidden_size"] // scale,
        "intermediate_size": language["intermediate_size"] // scale,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [n // scale for n in (16, 24, 24)]},
    }
    tower = {"depth": 32 if scale == 1 else 2, "embed_dim": 1280 // scale, "num_heads": 16, "hidden_size": language["hidden_size"], "mlp_ratio": 4}
    config = Qwen2VLConfig(
        text_config=language, vision_config=tower, image_token_id=3, vision_start_token_id=2, vision_end_token_id=1, tie_word_embeddings=True
    )
    model = Qwen2VLForConditionalGeneration(config).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("visual" not in name or "merger" in name)
    model = readied(held(model))
    update = trainer(model)
    count = rows(count)
    grids = [[1, *size] for size in [(32, 32), (24, 24), (24, 40), (40, 28)]]
    grid = torch.tensor([grids[row % 4] for row in range(count)])
    patches = grid.prod(1)
    x = ids(language["vocab_size"], count, 512)
    labels = x.clone()
    labels[:, : 512 - 128] = -100
    for row, tokens in enumerate(patches // 4):
        x[row, 0], x[row, 1 : 1 + tokens], x[row, 1 + tokens] = 2, 3, 1
    pixels = torch.rand(int(patches.sum()), 3 * 2 * 14 * 14)
    kinds = (x == 3).int()

    def step():
        update(
            model(
                input_ids=x, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=kinds, labels=labels, use_cache=False
            ).loss
        )

    return step, x.numel()


def dpo_2b(count=8):
    return pairs(qwen2_1b5(), count, 640, 100)


def dpo_7b(count=8):
    return pairs(vicuna(), count, 640, 100, adapters=True)


def answering(config):
    """A decoder that answers; the class is its configuration's."""
    from transformers import AutoModelForCausalLM

    return held(AutoModelForCausalLM.from_config(config).eval().requires_grad_(False))


def decoding(config):
    """64 tokens behind a prompt of 32, greedy, one sequence; a step is a token."""
    model = answering(config)
    x = ids(config.vocab_size, 1, 32)
    more = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(x)}

    def step():
        with torch.no_grad():
            start = time.perf_counter()
            model.generate(x, max_new_tokens=1, min_new_tokens=1, **more)
            first = time.perf_counter()
            model.generate(x, max_new_tokens=65, min_new_tokens=65, **more)
            # The prompt was read in both.
            return ((time.perf_counter() - first) - (first - start)) / 64

    return step, 1


def reading(config, count):
    """A prompt read."""
    model = readied(answering(config))
    x = ids(config.vocab_size, 1, count)

    def step():
        with torch.no_grad():
            model(input_ids=x, use_cache=True, logits_to_keep=1)

    return step, count


def decode():
    return decoding(smol())


def prefill(count=512):
    return reading(smol(), count)


def decode_qwen2():
    return decoding(qwen2())


def prefill_qwen2(count=512):
    return reading(qwen2(), count)


def decode_qwen2_vl():
    return decoding(qwen2_1b5())


def product(rows, inputs, outputs, times=None, dtype=torch.float32):
    """The machine's product of two matrices, as often as makes the operations of one of 2048 x 2048 x 2048; a token is a GFLOP."""
    a, b = torch.rand(rows, inputs, dtype=dtype), torch.rand(inputs, outputs, dtype=dtype)
    times = times or 2048**3 // (rows * inputs * outputs)

    def step():
        for _ in range(times):
            c = a @ b
        return c

    return step, times * 2 * rows * inputs * outputs / 1e9


def gemm():
    return product(2048, 2048, 2048)


def gemm_linear():
    """The same; mmtrain has another product for linear layers on a CPU."""
    return gemm()


def gemm_256():
    return product(256, 256, 256)


def gemm_512():
    return product(512, 512, 512)


def gemm_1024():
    return product(1024, 1024, 1024)


def gemm_mlp():
    """A linear layer of a small model."""
    return product(512, 384, 1536)


def gemm_bf16():
    """A linear layer of a large model, for GPUs; PyTorch's product is cuBLAS's."""
    return product(4096, 2048, 8192, times=8, dtype=torch.bfloat16)


def linear(inputs, outputs, count):
    """A linear layer, and the products of its two gradients."""
    count = min(count, 64) if peer_parts.SMALL else count
    dtype = torch.bfloat16 if peer_parts.on_gpu() else torch.float32
    x, weight, of_y = (torch.rand(*shape, dtype=dtype) for shape in ((count, inputs), (inputs, outputs), (count, outputs)))
    once = 3 * 2 * count * inputs * outputs
    times = 1 if peer_parts.SMALL else max(1, math.ceil(1e12 / once))

    def step():
        for _ in range(times):
            x @ weight, of_y @ weight.T, x.T @ of_y

    return step, times * once / 1e9


def linear_4096x4096(count=8192):
    return linear(4096, 4096, count)


def linear_4096x11008(count=8192):
    return linear(4096, 11008, count)


def linear_4096x12288(count=8192):
    return linear(4096, 12288, count)


def linear_1536x8960(count=8192):
    return linear(1536, 8960, count)


def linear_576x1536(count=8192):
    return linear(576, 1536, count)


def attention_7b(count=4096):
    """Causal attention of 32 heads of 128, forward and backward."""
    seq = min(count, 256) if peer_parts.SMALL else count
    dtype = torch.bfloat16 if peer_parts.on_gpu() else torch.float32
    q, k, v = (torch.rand(1, seq, 32, 128, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3))

    def step():
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        q.grad = k.grad = v.grad = None

    return step, seq


def head_151936(count=2048):
    """Output projection and loss of all tokens at once, with the gradients of both, from weights in f32."""
    config, count = qwen2_1b5(), min(count, 64) if peer_parts.SMALL else count
    dtype = torch.bfloat16 if peer_parts.on_gpu() else torch.float32
    weight = torch.nn.Parameter(torch.rand(config.vocab_size, config.hidden_size) / 50)
    states = torch.rand(count, config.hidden_size, dtype=dtype)
    targets = torch.arange(count) * 73 % config.vocab_size

    def step():
        weight.grad, x = None, states.detach().requires_grad_()
        torch.nn.functional.cross_entropy((x @ weight.T.to(dtype)).float(), targets).backward()
        return x.grad

    return step, count


TIMES = 20


def both_ways(inputs, operation, tokens=1024):
    """An operation forward and backward, with a gradient of ones."""
    for x in inputs:
        x.requires_grad_()

    def step():
        for _ in range(TIMES):
            operation(*inputs).sum().backward()
            for x in inputs:
                x.grad = None

    return step, TIMES * tokens


def kernel_rms_norm():
    gamma = torch.rand(576)
    return both_ways([torch.rand(1, 1024, 576)], lambda x: torch.nn.functional.rms_norm(x, (576,), gamma, 1e-6))


def kernel_layer_norm():
    gamma, beta = torch.rand(768), torch.rand(768)
    return both_ways([torch.rand(1, 1024, 768)], lambda x: torch.nn.functional.layer_norm(x, (768,), gamma, beta, 1e-6))


def kernel_gated():
    return both_ways([torch.rand(1, 1024, 1536), torch.rand(1, 1024, 1536)], lambda gate, up: torch.nn.functional.silu(gate) * up)


def kernel_activation():
    return both_ways([torch.rand(1, 1024, 3072)], lambda x: torch.nn.functional.gelu(x, approximate="tanh"))


def kernel_linear():
    return both_ways([torch.rand(1024, 576), torch.rand(576, 1536)], lambda x, weight: x @ weight)


def kernel_gated_linear():
    inputs = [torch.rand(1024, 1536), torch.rand(1024, 1536), torch.rand(1536, 576)]
    return both_ways(inputs, lambda gate, up, weight: (torch.nn.functional.silu(gate) * up) @ weight)


def kernel_by_table():
    return both_ways([torch.rand(256, 576), torch.rand(8192, 576)], lambda x, table: x @ table.T, 256)


def kernel_rope():
    cos, sin = (torch.rand(1, 1, 256, 32).repeat(1, 1, 1, 2) for _ in range(2))

    def rotate(x):
        # As transformers has it.
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    return both_ways([torch.rand(4, 256, 9, 64).transpose(1, 2)], rotate)


def kernel_attention():
    q, k, v = (torch.rand(2, 512, heads, 64).transpose(1, 2) for heads in (9, 3, 3))
    return both_ways([q, k, v], lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))


def kernel_cross_entropy():
    targets = torch.arange(256) * 191
    return both_ways([torch.rand(256, 49152)], lambda x: torch.nn.functional.cross_entropy(x, targets, reduction="none"), 256)


def kernel_adamw():
    """An update of 4,194,304 values; a token is a value."""
    x = torch.nn.Parameter(torch.rand(1 << 22))
    x.grad = torch.rand(1 << 22)
    optimizer = torch.optim.AdamW([x], lr=1e-4, weight_decay=0.05, fused=True)

    def step():
        for _ in range(TIMES):
            optimizer.step()

    return step, TIMES * x.numel()


def pictures():
    """32 JPEG files of 640 x 480 decoded, resized, cut and normalised as CLIP sees them, by torchvision in two threads."""
    import concurrent.futures

    from torchvision.io import decode_jpeg, encode_jpeg
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as f

    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    y, x, channel = torch.meshgrid(torch.arange(480), torch.arange(640), torch.arange(3), indexing="ij")
    noise = (((y * 640 + x) * 3 + channel) * 2654435761 % 2**32 >> 27) - 16

    def scene(number):
        wave = torch.sin(x / (40 + 9 * channel) + number) + torch.cos(y / (60 - 7 * channel))
        return (128 + 45 * wave + noise).to(torch.uint8).permute(2, 0, 1).contiguous()

    files = [encode_jpeg(scene(number), quality=90) for number in range(32)]
    torch.set_num_threads(1)
    workers = concurrent.futures.ThreadPoolExecutor(2)

    def ready(file):
        picture = f.resize(decode_jpeg(file), [336], interpolation=InterpolationMode.BICUBIC, antialias=True)
        picture = f.center_crop(picture, [336, 336])
        return f.normalize(f.to_dtype(picture, torch.float32, scale=True), mean, std).shape[1]

    return (lambda: sum(workers.map(ready, files))), 32


def checkpoint():
    """Weights and moments of the decoder of 34 M written, flushed and read again, as a script does that resumes; a token is a megabyte."""
    import os
    import tempfile

    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(small()).train()
    update = trainer(model)
    x = ids(small().vocab_size, 1, 8)
    update(model(input_ids=x, labels=x, use_cache=False).loss)
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "checkpoint.pt")

    def step():
        with open(path + ".new", "wb") as file:
            torch.save({"model": model.state_dict(), "optimizer": update.optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        update.optimizer.load_state_dict(saved["optimizer"])

    step.folder = folder  # is removed with it
    return step, 3 * 4 * sum(p.numel() for p in model.parameters()) / 1e6


TRAINING = (decoder, vit, vlm, lora, dpo, nanovlm, llava_align, lora_7b, qwen2_vl, dpo_2b, dpo_7b)
ANSWERING = (prefill, decode, prefill_qwen2, decode_qwen2, decode_qwen2_vl)
PRODUCTS = (gemm, gemm_linear, gemm_256, gemm_512, gemm_1024, gemm_mlp, gemm_bf16)
LINEAR = (linear_4096x4096, linear_4096x11008, linear_4096x12288, linear_1536x8960, linear_576x1536)
KERNELS = (
    *(kernel_rms_norm, kernel_layer_norm, kernel_gated, kernel_activation, kernel_linear, kernel_gated_linear, kernel_by_table, kernel_rope),
    *(kernel_attention, kernel_cross_entropy, kernel_adamw),
)
ROWS = {f.__name__: f for f in (*PRODUCTS, *LINEAR, *KERNELS, *TRAINING, *ANSWERING, attention_7b, head_151936, pictures, checkpoint)}


def timed(name, count, args):
    """Seconds of each step of a row, and the tokens of one."""
    wait = torch.cuda.synchronize if args.device.startswith("cuda") else lambda: None
    step, tokens = ROWS[name](*count)
    if args.device.startswith("cuda"):
        # What a model took while it was made is no part of its steps.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    # As `mmtrain bench` on a GPU: parameters in f32, and computed in bf16.
    is_mixed = args.device.startswith("cuda") and ROWS[name] in TRAINING
    mixed = torch.autocast("cuda", torch.bfloat16) if is_mixed else contextlib.nullcontext()
    seconds = []
    for number in range(args.warmup + args.steps):
        wait()
        start = time.perf_counter()
        with mixed:
            own = step()
        wait()
        if number >= args.warmup:
            seconds.append(own if isinstance(own, float) else time.perf_counter() - start)
    return seconds, tokens


def gpu(device):
    """The number of a GPU; that of `cuda` is 0.

    >>> gpu("cuda"), gpu("cuda:1")
    (0, 1)
    """
    return torch.device(device).index or 0


def row(text):
    """`name`, `name:amount`, `name+way` or both, as in `nanovlm:256+compile`."""
    text, _, way = text.partition("+")
    name, _, count = text.partition(":")
    if name not in ROWS:
        raise argparse.ArgumentTypeError(f"no row {text}; rows are {', '.join(ROWS)}")
    if count and not (count.isdecimal() and int(count) and inspect.signature(ROWS[name]).parameters):
        raise argparse.ArgumentTypeError(f"no {count} of row {name}")
    # Of the others no model is made that could be had in another way.
    readied = way in peer_parts.WAYS and ROWS[name] in (*TRAINING, prefill, prefill_qwen2)
    if way and not readied and (name, way) != ("dpo", "trl"):
        raise argparse.ArgumentTypeError(f"no way {way} of row {name}")
    return name, [int(count)] if count else [], way


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("row", type=row)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="as mmtrain bench --small")
    args = parser.parse_args()
    if args.device.startswith("cuda"):
        torch.cuda.set_device(gpu(args.device))
    torch.set_default_device(args.device)
    name, count, peer_parts.WAY = args.row
    peer_parts.SMALL = args.small
    torch.backends.cuda.matmul.allow_tf32 = True
    if peer_parts.WAY == "trl":
        import peer_trl

        seconds, tokens = peer_trl.seconds(small(), *(count or [4]), 192, 64, args.warmup, args.steps)
    else:
        seconds, tokens = timed(name, count, args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    reserved = torch.cuda.max_memory_reserved() if args.device.startswith("cuda") else None
    print(json.dumps({"row": name, "seconds": seconds, "tokens": tokens, "peak_bytes": peak, "device_bytes": reserved}))


if __name__ == "__main__":
    main()
