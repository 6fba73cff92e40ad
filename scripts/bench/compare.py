"""Rows of `mmtrain bench` and of scripts/bench/peer.py in turn, and a table of both. scripts/bench/compare.sh calls it."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PEER = Path(__file__).with_name("peer.py")
# Rows that differ from another only in how mmtrain computes them.
THEIRS = {"gemm_bf16_cublaslt": "gemm_bf16", "decode_qwen2_vl_int8": "decode_qwen2_vl", "decode_qwen2_vl_nf4": "decode_qwen2_vl"}
MIB = 1 << 20


@dataclass
class Setting:
    """Where and how often rows are measured."""

    binary: str
    device: str = "cpu"
    rounds: int = 3
    steps: int = 5
    warmup: int = 1
    small: bool = False
    # Of one side in one round, in seconds.
    limit: int = 600


@dataclass
class Row:
    """What was measured of a row, round by round, or why nothing was."""

    name: str
    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)


def measure(name, setting):
    """Both sides in turn, so that a busy machine is busy for both. Behind a `+` in the name is another way of the peer."""
    row, own_name = Row(name), name.partition("+")[0]
    # A step of answering is a token.
    own = setting.steps * (12 if name.startswith("decode_") or name == "decode" else 1)
    small = ["--small"] * setting.small
    ours = [setting.binary, "--quiet", "--device", setting.device, "bench", own_name, "--steps", str(own), "--warmup", str(setting.warmup), "--json", *small]
    theirs = [sys.executable, str(PEER), THEIRS.get(name, name), "--steps", str(setting.steps), "--warmup", str(setting.warmup), "--device", setting.device, *small]
    for _ in range(setting.rounds):
        for side, command, found in ("ours", ours, row.ours), ("theirs", theirs, row.theirs):
            if side in row.errors:
                continue
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=setting.limit)
            except subprocess.TimeoutExpired:
                row.errors[side] = f"not done within {setting.limit} s"
                continue
            if done.returncode:
                row.errors[side] = reason(done.stderr)
            else:
                # Libraries of the peer print lines of their own before.
                found.append(json.loads(done.stdout if side == "ours" else done.stdout.splitlines()[-1]))
    return row


def reason(stderr):
    """What went wrong, of what a program said at its end; a hint comes behind it."""
    lines = stderr.strip().splitlines() or ["no reason given"]
    return next((line for line in lines if line.startswith("error: ")), lines[-1])


HEAD = (
    "| row | step | tokens/s | GFLOP/s | of the matrix product | PyTorch | faster | peak memory | of PyTorch's |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def line(row, product):
    """A line of the table; `product` is the rate of the matrix product in the same hour, in GFLOP/s."""
    if not row.ours:
        return f"| {row.name} | {row.errors['ours']} | | | | | | | |"
    ours = [statistics.median(run["seconds"]) for run in row.ours]
    step, gflops = statistics.median(ours), statistics.median(run["gflops"] for run in row.ours)
    cells = [row.name, milliseconds(step)]
    cells.append("–" if is_product(row.name) else f"{row.ours[0]['tokens'] / step:,.0f}")
    cells.append(f"{gflops:,.0f}" if gflops else "–")
    cells.append(f"{100 * gflops / product:.0f} %" if product and gflops else "–")
    if not row.theirs:
        return "| " + " | ".join([*cells, row.errors.get("theirs", "–"), "", f"{peak(row.ours) / MIB:,.0f} MiB", ""]) + " |"
    theirs = [statistics.median(run["seconds"]) for run in row.theirs]
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    cells += [milliseconds(statistics.median(theirs)), f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"]
    cells += [f"{peak(row.ours) / MIB:,.0f} MiB", f"{peak(row.ours) / peak(row.theirs):.2f}x"]
    return "| " + " | ".join(cells) + " |"


def is_product(name):
    return name.startswith(("gemm", "linear"))


def milliseconds(seconds):
    return f"{1e3 * seconds:,.0f} ms" if seconds > 0.0995 else f"{1e3 * seconds:.2f} ms"


def peak(runs):
    """Of a GPU what the allocator took, else the resident memory."""
    return max(run["device_bytes"] or run["peak_bytes"] for run in runs)


def rates(row):
    """What both sides make of a product, in GFLOP/s; PyTorch's tokens are of 10⁹ operations."""
    return [run["gflops"] for run in row.ours] + [run["tokens"] / statistics.median(run["seconds"]) for run in row.theirs]


def lines(names, setting, products=("gemm", "gemm_linear")):
    """The table, line by line, as it comes. Shares are of the fastest product that either side has made until then."""
    product = None
    yield HEAD
    for name in names:
        row = measure(name, setting)
        if name in products:
            product = max([*rates(row), product or 0.0]) or None
        yield line(row, product)


def main():
    setting = Setting(
        binary=os.environ["MMTRAIN"],
        device=os.environ.get("DEVICE", "cpu"),
        rounds=int(sys.argv[1]),
        steps=int(os.environ.get("STEPS", 5)),
        warmup=int(os.environ.get("WARMUP", 1)),
        small=bool(os.environ.get("SMALL")),
        limit=int(os.environ.get("LIMIT", 600)),
    )
    for line in lines(sys.argv[2:], setting):
        print(line, flush=True)


if __name__ == "__main__":
    main()
