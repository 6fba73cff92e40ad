"""The table of docs/performance.md from the lines that scripts/bench/compare.sh collects."""

import json
import statistics
import sys

lines = [json.loads(line) for line in open(sys.argv[1])]
rows = list(dict.fromkeys(line["row"] for line in lines))


def of(row, side):
    return [line for line in lines if (line["row"], line["side"]) == (row, side)]


def middle(runs):
    return [statistics.median(run["seconds"]) for run in runs]


ours = of("gemm", "ours")
product = max((run["gflops"] for run in ours), default=None)

print("| row | step | tokens/s | GFLOP/s | of the matrix product | PyTorch | faster | peak memory | of PyTorch's |")
print("|---|---|---|---|---|---|---|---|---|")
for row in rows:
    ours, theirs = of(row, "ours"), of(row, "theirs")
    a, b = middle(ours), middle(theirs)
    ratios = sorted(t / o for o, t in zip(a, b))
    step, peak = statistics.median(a), max(run["peak_bytes"] for run in ours)
    gflops = statistics.median(run["gflops"] for run in ours)
    share = f"{100 * gflops / product:.0f} %" if product and gflops else "–"
    rate = f"{gflops:.0f}" if gflops else "–"
    memory = peak / max(run["peak_bytes"] for run in theirs)
    tokens = "–" if row.startswith("gemm") else f"{ours[0]['tokens'] / step:,.0f}"
    print(
        f"| {row} | {1e3 * step:,.0f} ms | {tokens} | {rate} | {share} | {1e3 * statistics.median(b):,.0f} ms "
        f"| {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {peak / (1 << 20):,.0f} MiB | {memory:.2f}x |"
    )
