"""From transformers to mmtrain, through training and export, and back: every family of whole models.

    .venv/bin/python scripts/parity/round_trip.py MMTRAIN tests/fixtures/parity WORK_DIR [CASE ...]

For each case: `mmtrain export` writes the checkpoint anew; the installed transformers (5.x or 4.57) loads it with no
missing and no unexpected key; its outputs on the recorded inputs must be those that were recorded. Where
`WORK_DIR/runs/CASE` holds a run that began from the case, its trained weights are exported, transformers computes their
outputs, and `mmtrain parity` compares them with its own.
"""

import pathlib
import shutil
import subprocess
import sys

from safetensors.torch import load_file, save_file

import verify_fixtures

CASES = ("llava", "llava_siglip_qwen2", "llava_next", "qwen2_vl", "qwen2_5_vl", "blip2", "instructblip", "mllama", "idefics3",
         "smolvlm", "qwen2_audio")
TOLERANCE = 2e-5


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def export(binary, model, out):
    shutil.rmtree(out, ignore_errors=True)
    done = run(binary, "export", "--model", model, "--out", out)
    if done.returncode != 0:
        raise SystemExit(f"{model}: {done.stderr}")


def check(binary, case, work):
    out = work / case.name
    export(binary, case, out)
    model = verify_fixtures.load(out)
    inputs, expected = verify_fixtures.split(load_file(case / "io.safetensors"))
    worst = verify_fixtures.compare_outputs(model, inputs, expected)
    verify_fixtures.check_generation(model, inputs, expected)
    return worst, type(model).__name__


def check_trained(binary, case, run_dir, work):
    """Exports a run, lets transformers compute the case's outputs, and mmtrain compare them with its own."""
    out = work / f"{case.name}-trained"
    export(binary, run_dir, out)
    model = verify_fixtures.load(out)
    inputs, _ = verify_fixtures.split(load_file(case / "io.safetensors"))
    found = verify_fixtures.reference.run(model, verify_fixtures.forward_of(model), inputs)
    recorded = {f"in.{name}": tensor for name, tensor in inputs.items()}
    recorded |= {f"out.{name}": tensor.contiguous() for name, tensor in found.items()}
    save_file(recorded, out / "io.safetensors")
    return run(binary, "parity", out)


def main():
    binary, cases, work, *names = sys.argv[1:]
    cases, work = pathlib.Path(cases), pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    verify_fixtures.right_buckets()
    failed = 0
    for name in names or CASES:
        worst, class_name = check(binary, cases / name, work)
        failed += worst > TOLERANCE
        print(f"{name:20} {class_name:40} outputs within {worst:.1e}, continuation equal")
        trained = work / "runs" / name
        if trained.is_dir():
            done = check_trained(binary, cases / name, trained, work)
            failed += done.returncode != 0
            print(f"{'':20} trained: {done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr}")
            print("\n".join(f"{'':22}{line}" for line in done.stdout.strip().splitlines()[1:-1]))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
