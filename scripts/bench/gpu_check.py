"""What scripts/gpu_check.sh does once the binary is there and the device answers."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import compare

DEVICE, OUT, BINARY = os.environ["DEVICE"], Path(os.environ["OUT"]), os.environ["MMTRAIN"]
STEPS, ROUNDS, SMALL = int(os.environ["STEPS"]), int(os.environ["ROUNDS"]), bool(os.environ.get("SMALL"))
LIMIT = int(os.environ.get("LIMIT", 120))
# What is there beside CUDA computes in f32 alone, or best.
IN_BF16 = DEVICE.startswith("cuda")
# Whose rate others are a share of.
PRODUCTS = ("gemm_bf16", "gemm_bf16_cublaslt") if IN_BF16 else ("gemm", "gemm_linear")
# In the order of their worth, since time on a GPU may end.
TRAINED_ON_GPUS = ["nanovlm", "qwen2_vl", "lora_7b", "llava_align", "dpo_2b", "decode_qwen2_vl", "attention_7b", "head_151936", "linear_4096x11008"]
ALL = [
    *("decoder", "vit", "vlm", "lora", "dpo", "prefill", "decode", "dpo_7b", "decode_qwen2_vl_int8", "decode_qwen2_vl_nf4"),
    # Other numbers of rows and tokens, and other ways of the peer.
    *("nanovlm:256", "nanovlm+compile", "nanovlm:256+compile", "llava_align:32", "lora_7b+liger", "qwen2_vl+compile", "dpo_7b+liger"),
    *(f"attention_7b:{tokens}" for tokens in (512, 1024, 2048)),
    "head_151936:8192",
    *(f"linear_{shape}:{tokens}" for shape in ("4096x4096", "4096x11008", "4096x12288", "1536x8960", "576x1536") for tokens in (1024, 8192, 32768)),
]
ROWS = os.environ.get("ROWS", " ".join([*PRODUCTS, *(TRAINED_ON_GPUS if IN_BF16 or SMALL else ALL[:7])])).split()
if ROWS == ["all"]:
    ROWS = [*PRODUCTS, *TRAINED_ON_GPUS, *ALL]
CASES = Path("tests/fixtures/parity")

# Products of TF32 keep ten bits of the factors, which is 5e-4 of each; the recorded values are about one.
OUTPUTS = 5e-3
# bf16 keeps eight bits, and rounds after every operation: what `parity --bf16` allows, also of a CPU that computes so.
OUTPUTS_BF16 = 1e-1
# As much more than on a CPU as that is more than the 2e-5 of most cases.
GRADIENTS = 250
# Losses of the first steps beside the CPU's, as a share of them.
LOSSES = {"f32": 2e-3, "bf16": 5e-2}
TRAINED = 40
# Steps of a run with two checkpoints.
SAVED = 6


def mmtrain(*args, device=DEVICE):
    return subprocess.run([BINARY, "--device", device, "--quiet", *args], capture_output=True, text=True)


def has_logits(recorded):
    """Whether a case is of a model with a decoder; the header of a safetensors file is JSON behind its length."""
    with open(recorded, "rb") as file:
        return "out.logits" in json.loads(file.read(int.from_bytes(file.read(8), "little")))


def parity(in_16_bits):
    """Every case on the device, or those of models with a decoder in bf16; yields rows of a table and whether the bound holds."""
    more = ["--bf16"] if in_16_bits else ["--atol", str(OUTPUTS)]
    for case in sorted(path.parent for path in CASES.glob("*/io.safetensors") if not in_16_bits or has_logits(path)):
        done = mmtrain("parity", str(case), "--json", *more)
        try:
            report = json.loads(done.stdout)
        except json.JSONDecodeError:
            yield f"| {case.name} | {done.stderr.strip().splitlines()[:1]} | | broken |", False
            continue
        worst = max((output["max_abs"] for output in report["comparisons"] if output["max_abs"] is not None), default=0.0)
        holds = all(output["passed"] for output in report["comparisons"]) and not report["not_computed"]
        gradients = report.get("gradients")
        ratio = "–"
        if gradients:
            ratio = f"{gradients['worst_ratio']:.1f}"
            # In 16 bits the report itself allows as much more as its outputs are allowed.
            near = gradients["worst_ratio"] <= (1 if in_16_bits else GRADIENTS)
            holds = holds and near and not gradients["unmatched"]
        yield f"| {case.name} | {worst:.1e} | {ratio} | {'holds' if holds else 'broken'} |", holds


def losses(name, device, precision, more=None):
    # Data of its own: a small set must not lie where the quickstart's belongs.
    run, data = OUT / f"train-{name}", OUT / "data"
    done = mmtrain(
        *("pretrain", "--config", "quickstart", "--run-dir", str(run)),
        *(word for key, value in {
            "train.steps": TRAINED, "train.log_every": 1, "train.eval_every": 0, "checkpoint.every": 0, "train.ranks": 1,
            "train.precision": precision, "eval.samples": 8, "eval.generate": 0, "data.sources.0.synth.samples": 2000,
            "data.sources.0.path": data, "data.eval.path": data, "model.tokenizer.train_bpe.sources": "[]", **(more or {}),
        }.items() for word in ("--set", f"{key}={value}")),
        device=device,
    )
    if done.returncode:
        raise RuntimeError(f"training on {device} in {precision}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def furthest(expected, found):
    """The largest difference as a share of what is expected; infinite where one is no number, or missing."""
    if len(expected) != len(found) or not all(map(math.isfinite, [*expected, *found])):
        return math.inf
    return max(abs(a - b) / a for a, b in zip(expected, found))


def training():
    expected = losses("cpu", "cpu", "f32")
    for precision, bound in LOSSES.items():
        if precision == "bf16" and not IN_BF16:
            continue
        try:
            found = losses(precision, DEVICE, precision)
        except RuntimeError as error:
            yield f"| {precision} | {error} | {bound:.0e} | broken |", False
            continue
        far = furthest(expected, found)
        yield f"| {precision} | {far:.1e} | {bound:.0e} | {'holds' if far <= bound else 'broken'} |", far <= bound


def resumed():
    """A run that goes on from a checkpoint that was written beside its steps, and what it does without a stop."""
    whole = OUT / "train-saved"
    try:
        losses("saved", DEVICE, "f32", {"train.steps": SAVED, "checkpoint.every": SAVED // 2, "checkpoint.async": "true"})
    except RuntimeError as error:
        yield f"| {error} | broken |", False
        return
    run = OUT / "train-resumed"
    shutil.copytree(whole, run)
    for later in [f"step-{SAVED:08}", "finished"]:
        path = run / later
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = mmtrain("pretrain", "--resume", str(run))
    if done.returncode:
        yield f"| {(done.stderr.strip().splitlines() or ['no reason given'])[-1]} | broken |", False
        return
    a, b = ([json.loads(line)["loss"] for line in open(at / "metrics.jsonl") if '"kind":"train"' in line] for at in (whole, run))
    far = furthest(a, b) if len(a) == SAVED else math.inf
    yield f"| {far:.1e} | {'holds' if far <= LOSSES['f32'] else 'broken'} |", far <= LOSSES["f32"]


def main():
    sound = True
    with open(OUT / "gpu.md", "w") as file:

        def say(line):
            print(line, flush=True)
            # What is there stays, also where time ends.
            file.write(line + "\n")
            file.flush()

        # A CPU computes in bf16 as well, if slowly; wgpu does not.
        in_16_bits = [True] if DEVICE != "wgpu" else []
        for title, head, rows in [
            ("recorded outputs", "| case | largest difference | gradients, in units of the CPU's tolerance | at most %.0e and %d |" % (OUTPUTS, GRADIENTS), parity(False)),
            *(("recorded outputs, in bf16", "| case | largest difference | gradients, in units of the CPU's tolerance | at most %.0e |" % OUTPUTS_BF16, parity(yes)) for yes in in_16_bits),
            ("losses of %d steps beside the CPU's" % TRAINED, "| precision | largest share | bound | |", training()),
        ]:
            say(f"\n## {DEVICE}: {title}\n\n{head}\n|---|---|---|---|")
            for line, holds in rows:
                say(line)
                sound &= holds
        say(f"\n## {DEVICE}: a run that goes on from a checkpoint written beside its steps\n\n| losses differ by | at most %.0e |\n|---|---|" % LOSSES["f32"])
        for line, holds in resumed():
            say(line)
            sound &= holds
        if not ROWS:
            sys.exit(0 if sound else 1)
        say(f"\n## {DEVICE}: beside PyTorch\n")
        setting = compare.Setting(BINARY, DEVICE, ROUNDS, STEPS, 2 if SMALL else 5, SMALL, LIMIT)
        for line in compare.lines(ROWS, setting, PRODUCTS):
            say(line)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
