"""The peer's side of a benchmark row: the same shapes in PyTorch, transformers, PEFT and TRL's way of DPO; torchvision for pictures.

    python scripts/bench/peer.py ROW [--steps N] [--warmup N] [--device cpu|cuda]

Rows are those of `mmtrain bench`. Prints one line of JSON: seconds of each step, tokens of a step, peak resident memory.
Weights and inputs are random; two threads unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import contextlib
import json
import resource
import time

import torch

torch.manual_seed(0)

VOCAB = 8192


def llama(hidden, inner, blocks, heads, kv_heads, vocab, tied):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        attn_implementation="sdpa",
    )


def small():
    """34 M parameters."""
    return llama(512, 1408, 8, 8, 8, VOCAB, False)


def smol():
    """The size of SmolLM2-135M."""
    return llama(576, 1536, 30, 9, 3, 49152, True)


def qwen2():
    """The size of Qwen2-0.5B."""
    from transformers import Qwen2Config

    return Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151936,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )


def siglip():
    """ViT-B/16 of 224 pixels."""
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=16)


def ids(vocab, *shape):
    return torch.randint(4, vocab, shape)


def trainer(model):
    """AdamW over what is trained, gradients clipped, as a Trainer does it."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05, fused=True)

    def update(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    update.optimizer = optimizer
    return update


def decoder():
    """A decoder trained whole: 4 rows of 256 tokens."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(small()).train()
    update = trainer(model)
    x = ids(VOCAB, 4, 256)
    return (lambda: update(model(input_ids=x, labels=x, use_cache=False).loss)), x.numel()


def vit():
    """A tower forward: 8 pictures."""
    from transformers import SiglipVisionModel

    model = SiglipVisionModel(siglip()).eval()
    pixels = torch.rand(8, 3, 224, 224)

    def step():
        with torch.no_grad():
            model(pixel_values=pixels)

    return step, 8 * 196


def vlm():
    """Caption alignment: tower and decoder frozen, the connector trained; 4 rows of a picture and 60 tokens."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=siglip(),
        text_config=smol(),
        image_token_index=3,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
    )
    model = LlavaForConditionalGeneration(config).train()
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("multi_modal_projector" in name)
    update = trainer(model)
    pixels = torch.rand(4, 3, 224, 224)
    x = torch.cat([torch.full((4, 196), 3), ids(49152, 4, 60)], 1)
    labels = x.masked_fill(x == 3, -100)

    def step():
        update(model(input_ids=x, pixel_values=pixels, labels=labels, use_cache=False).loss)

    return step, x.numel()


def lora():
    """LoRA of rank 16 in every linear layer of a 135 M decoder; 4 rows of 256 tokens, a quarter of them learned."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(LlamaForCausalLM(smol()).train(), LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    update = trainer(model)
    x = ids(49152, 4, 256)
    labels = x.clone()
    labels[:, :192] = -100
    return (lambda: update(model(input_ids=x, labels=labels, use_cache=False).loss)), x.numel()


def dpo():
    """Four pairs, prompts of 192 and answers of 64 tokens, as TRL computes them by default: both answers with their prompt in
    one batch, the reference model beside it in every step."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(small()).train()
    reference = LlamaForCausalLM(small()).eval().requires_grad_(False)
    reference.load_state_dict(model.state_dict())
    update = trainer(model)
    prompt, answers = ids(VOCAB, 4, 192), ids(VOCAB, 8, 64)
    x = torch.cat([prompt.repeat(2, 1), answers], 1)

    def logps(model):
        logits = model(input_ids=x, use_cache=False).logits[:, 191:-1]
        return torch.gather(logits.log_softmax(-1), 2, x[:, 192:, None]).squeeze(2).sum(1)

    def step():
        with torch.no_grad():
            theirs = logps(reference)
        margin = logps(model) - theirs
        update(-torch.nn.functional.logsigmoid(0.1 * (margin[:4] - margin[4:])).mean())

    return step, x.numel()


def answering(config):
    """A decoder that answers; the class is its configuration's."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config).eval()


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


def reading(config):
    """A prompt of 512 tokens read."""
    model = answering(config)
    x = ids(config.vocab_size, 1, 512)

    def step():
        with torch.no_grad():
            model(input_ids=x, use_cache=True, logits_to_keep=1)

    return step, 512


def decode():
    return decoding(smol())


def prefill():
    return reading(smol())


def decode_qwen2():
    return decoding(qwen2())


def prefill_qwen2():
    return reading(qwen2())


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
    x = ids(VOCAB, 1, 8)
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


TRAINING = (decoder, vit, vlm, lora, dpo)
ANSWERING = (prefill, decode, prefill_qwen2, decode_qwen2)
PRODUCTS = (gemm, gemm_256, gemm_512, gemm_1024, gemm_mlp, gemm_bf16)
KERNELS = (kernel_rms_norm, kernel_layer_norm, kernel_gated, kernel_rope, kernel_attention, kernel_cross_entropy, kernel_adamw)
ROWS = {f.__name__: f for f in (*PRODUCTS, *KERNELS, *TRAINING, *ANSWERING, pictures, checkpoint)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_default_device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = True
    wait = torch.cuda.synchronize if args.device.startswith("cuda") else lambda: None
    step, tokens = ROWS[args.row]()
    # As `mmtrain bench` on a GPU: parameters in f32, and computed in bf16.
    is_mixed = args.device.startswith("cuda") and ROWS[args.row] in TRAINING
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if args.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"row": args.row, "seconds": seconds, "tokens": tokens, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
