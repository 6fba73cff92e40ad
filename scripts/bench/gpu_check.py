"""What scripts/gpu_check.sh does once the binary is there and the device answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import compare

DEVICE, OUT, BINARY = os.environ["DEVICE"], Path(os.environ["OUT"]), os.environ["MMTRAIN"]
STEPS, ROUNDS, SMALL = int(os.environ["STEPS"]), int(os.environ["ROUNDS"]), bool(os.environ.get("SMALL"))
# Shares of the product's rate are of the first.
PRODUCT = "gemm" if DEVICE == "cpu" else "gemm_bf16"
OF_GPUS = [
    *("gemm_bf16_cublaslt", "linear_4096x11008", "linear_4096x4096", "linear_1536x8960", "linear_576x1536", "attention_4096", "head_151936"),
    *("nanovlm", "llava_align", "lora_7b", "qwen2_vl", "dpo_2b", "dpo_7b", "decode_qwen2_vl", "decode_qwen2_vl_int8", "decode_qwen2_vl_nf4"),
]
USUAL = ["decoder", "vit", "vlm", "lora", "dpo", "prefill", "decode"]
ROWS = os.environ.get("ROWS", " ".join([PRODUCT, *USUAL, *(OF_GPUS if DEVICE != "cpu" or SMALL else [])])).split()
CASES = Path("tests/fixtures/parity")

# Products of TF32 keep ten bits of the factors, which is 5e-4 of each; the recorded values are about one.
OUTPUTS = 5e-3
# As much more than on a CPU as that is more than the 2e-5 of most cases.
GRADIENTS = 250
# Losses of the first steps beside the CPU's, as a share of them.
LOSSES = {"f32": 2e-3, "bf16": 5e-2}
TRAINED = 40


def mmtrain(*args, device=DEVICE):
    return subprocess.run([BINARY, "--device", device, "--quiet", *args], capture_output=True, text=True)


def parity():
    """Every case on the device; yields rows of a table and whether the bound holds."""
    for case in sorted(path.parent for path in CASES.glob("*/io.safetensors")):
        done = mmtrain("parity", str(case), "--atol", str(OUTPUTS), "--json")
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
            holds = holds and gradients["worst_ratio"] <= GRADIENTS and not gradients["unmatched"]
        yield f"| {case.name} | {worst:.1e} | {ratio} | {'holds' if holds else 'broken'} |", holds


def losses(name, device, precision):
    # Data of its own: a small set must not lie where the quickstart's belongs.
    run, data = OUT / f"train-{name}", OUT / "data"
    done = mmtrain(
        *("pretrain", "--config", "quickstart", "--run-dir", str(run)),
        *(word for key, value in {
            "train.steps": TRAINED, "train.log_every": 1, "train.eval_every": 0, "checkpoint.every": 0, "train.ranks": 1,
            "train.precision": precision, "eval.samples": 8, "eval.generate": 0, "data.sources.0.synth.samples": 2000,
            "data.sources.0.path": data, "data.eval.path": data, "model.tokenizer.train_bpe.sources": "[]",
        }.items() for word in ("--set", f"{key}={value}")),
        device=device,
    )
    if done.returncode:
        sys.exit(f"training on {device} in {precision}: {done.stderr}")
    lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def training():
    expected = losses("cpu", "cpu", "f32")
    for precision, bound in LOSSES.items():
        if DEVICE == "cpu" and precision == "bf16":
            continue
        found = losses(precision, DEVICE, precision)
        far = max(abs(a - b) / a for a, b in zip(expected, found))
        yield f"| {precision} | {far:.1e} | {bound:.0e} | {'holds' if far <= bound else 'broken'} |", far <= bound


def main():
    sound = True
    with open(OUT / "gpu.md", "w") as file:

        def say(line):
            print(line, flush=True)
            file.write(line + "\n")

        for title, head, rows in [
            ("recorded outputs", "| case | largest difference | gradients, in units of the CPU's tolerance | at most %.0e and %d |" % (OUTPUTS, GRADIENTS), parity()),
            ("losses of %d steps beside the CPU's" % TRAINED, "| precision | largest share | bound | |", training()),
        ]:
            say(f"\n## {DEVICE}: {title}\n\n{head}\n|---|---|---|---|")
            for line, holds in rows:
                say(line)
                sound &= holds
        say(f"\n## {DEVICE}: beside PyTorch\n")
        setting = compare.Setting(BINARY, DEVICE, ROUNDS, STEPS, 2 if SMALL else 10, SMALL)
        for line in compare.lines(ROWS, setting, PRODUCT):
            say(line)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
