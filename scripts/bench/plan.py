#!/usr/bin/env python3
"""What `mmtrain plan` says of a run beside what the run takes: peak memory and time of a step.

    scripts/bench/plan.py [STEPS] [CASE …]      MMTRAIN: the binary; OUT: where data and runs go (a temporary directory)

Each case is a configuration that needs no downloads, run for STEPS steps (12), saved (but for the case of that name) and evaluated at
the end only. A case that goes on from another one's run makes that first, if it is not there.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = shutil.which(os.environ.get("MMTRAIN", "mmtrain")) or sys.exit("no program `mmtrain`: name one in MMTRAIN")
BINARY = os.path.abspath(BINARY)
DECODER = {
    "model.decoder.arch.hidden_size": 512,
    "model.decoder.arch.intermediate_size": 1408,
    "model.decoder.arch.num_hidden_layers": 8,
    "model.decoder.arch.num_attention_heads": 8,
    "model.decoder.arch.num_key_value_heads": 8,
}
TOWER = {
    "model.encoder.arch.image_size": 224,
    "model.encoder.arch.patch_size": 16,
    "model.encoder.arch.hidden_size": 768,
    "model.encoder.arch.intermediate_size": 3072,
    "model.encoder.arch.num_hidden_layers": 12,
    "model.encoder.arch.num_attention_heads": 12,
    "data.max_seq": 256,
}
FROZEN = {"train.encoder.tuning": '"frozen"', "train.decoder.tuning": '"frozen"'}


def lora(more=""):
    return {"train.encoder.tuning": '"frozen"', "train.decoder.tuning": f"{{ lora = {{ lr = 1e-4, rank = 16{more} }} }}"}


PACKED = {"data.packing": "true", "data.max_seq": 1024}
# stage, configuration, what is set
CASES = {
    "quickstart": ("pretrain", "quickstart", {}),
    "packed": ("pretrain", "quickstart", PACKED),
    "q-former": ("pretrain", "quickstart-q-former", {}),
    "cross-attention": ("pretrain", "quickstart-cross-attention", {}),
    "decoder": ("pretrain", "quickstart", DECODER),
    "decoder packed": ("pretrain", "quickstart", DECODER | PACKED | {"train.micro_batch_size": 2}),
    "recomputed": ("pretrain", "quickstart", DECODER | PACKED | {"train.micro_batch_size": 2, "train.recompute": '"all"'}),
    "tower": ("pretrain", "quickstart", TOWER | {"train.micro_batch_size": 4, "train.global_batch_size": 8}),
    "aligned": ("pretrain", "quickstart", TOWER | DECODER | FROZEN),
    "lora": ("pretrain", "quickstart", TOWER | DECODER | lora()),
    "one rank": ("pretrain", "quickstart", DECODER | {"train.ranks": 1}),
    "saved": ("pretrain", "quickstart", DECODER | {"checkpoint.every": 2}),
    "dora": ("pretrain", "quickstart", DECODER | lora(", use_dora = true")),
    "int8": ("sft", "quickstart-sft", lora(', quantization = "int8"')),
    "nf4": ("sft", "quickstart-sft", lora(', quantization = "nf4"')),
    "bf16": ("pretrain", "quickstart", DECODER | {"train.precision": '"bf16"'}),
    "bf16 lora": ("pretrain", "quickstart", DECODER | lora() | {"train.precision": '"bf16"'}),
    "sft": ("sft", "quickstart-sft", {}),
    "dpo": ("dpo", "quickstart-dpo", {}),
}
# The case whose run another one goes on from.
PARENTS = {"sft": "quickstart", "dpo": "sft", "int8": "decoder", "nf4": "decoder"}


def planned(stage, args, out):
    """The estimate, from a process of its own."""
    done = subprocess.run([BINARY, "plan", "--stage", stage, *args, "--json"], cwd=out, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)["plan"]


def made(stage, args, out, run):
    """Peak memory of the run in bytes, and the middle one of its steps in seconds, the first left out."""
    shutil.rmtree(Path(out) / run, ignore_errors=True)
    process = subprocess.Popen([BINARY, "--quiet", stage, *args, "--run-dir", run], cwd=out)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the run ended with {status}")
    rows = [json.loads(line) for line in open(Path(out) / run / "metrics.jsonl")]
    seconds = [row["step_secs"] for row in rows if row["kind"] == "train"]
    return usage.ru_maxrss * 1024, statistics.median(seconds[1:])


def arguments(name, steps, out):
    """Stage and arguments of a case, whose parent is there afterwards."""
    stage, config, sets = CASES[name]
    args = ["--config", config]
    few = {"train.steps": steps, "train.log_every": 1, "checkpoint.every": 0, "train.eval_every": 0, "eval.samples": 8, "eval.generate": 0}
    for key, value in (few | sets).items():
        args += ["--set", f"{key}={value}"]
    if name in PARENTS:
        parent = f"parent-of-{name}"
        if not (Path(out) / parent / "finished").exists():
            made(*arguments(PARENTS[name], steps, out), out, parent)
        args += ["--init", parent]
    return stage, args


def main():
    steps = sys.argv[1] if len(sys.argv) > 1 else "12"
    names = sys.argv[2:] or list(CASES)
    out = os.environ.get("OUT") or tempfile.mkdtemp()
    os.makedirs(out, exist_ok=True)
    configs = Path(out) / "configs"
    if not configs.exists():
        configs.symlink_to(ROOT / "configs")
    print("| case | memory, planned | peak | ratio | step, planned | step | ratio |\n|---|---|---|---|---|---|---|")
    for name in names:
        stage, args = arguments(name, steps, out)
        run = "plan-" + re.sub(r"\W", "-", name)
        # The run comes first, since it makes the data.
        peak, step = made(stage, args, out, run)
        plan = planned(stage, args, out)
        memory, seconds = plan["memory_bytes"]["total"], plan["seconds_per_step"]
        print(
            f"| {name} | {memory / 2**20:.0f} MiB | {peak / 2**20:.0f} MiB | {memory / peak:.2f} "
            f"| {seconds:.3f} s | {step:.3f} s | {seconds / step:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
