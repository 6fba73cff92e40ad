"""Writes one parity case: checkpoint, `io.safetensors`, gradients and `META.toml`."""

import pathlib
import shutil

import torch
from safetensors.torch import save_file

import hub_layout
import reference

MAX_ABS = 2e-5


def write_case(
    out, name, model, inputs, forward, *, about, prompt=None, generate=None, grads=False, mistakes=None,
    dtype=torch.float32, shard=None, layout="hub", spelling="both", defaults=None,
):
    """`inputs` go to `forward(model, inputs)`, which returns a dict of named outputs.

    - `prompt`: a dict with `input_ids` (and media) to continue greedily
    - `generate`: instead of `prompt`, what `generate(model, inputs)` returns is the continuation and its smallest lead
    - `mistakes`: name to config changes, measured and recorded in META.toml
    - `dtype`: type of the stored weights; outputs are computed in float32 from the rounded values
    - `shard`: largest size of a weights file, as `save_pretrained` takes it
    - `layout`: "hub", or "v5" for the module names and the config of transformers 5 alone
    """
    folder = pathlib.Path(out) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outputs = reference.run(model, forward, inputs)
    meta = {"noise": reference.measure_noise(model, forward, inputs, outputs)}
    if mistakes:
        meta["sensitivity"] = reference.measure_sensitivity(model, forward, inputs, outputs, mistakes)
    if prompt:
        outputs |= continue_greedily(model, inputs, prompt, meta)
    if generate:
        outputs["generated_ids"], lead = generate(model, inputs)
        meta["generation"] = {"smallest_lead": lead}
    if grads:
        twin = reference.gradient_model(model, forward, inputs)
        meta["gradients"] = reference.measure_gradient_noise(twin, model, forward, inputs)
        save_grads(folder, twin)
    save_io(folder, inputs, outputs)
    save_model(folder, model, dtype, shard, layout, spelling, defaults)
    write_meta(folder, name, about, meta)
    report(name, folder, outputs, meta)


def continue_greedily(model, inputs, prompt, meta):
    media = {k: v for k, v in prompt.items() if k != "input_ids"}
    ids, lead = reference.greedy(model, prompt["input_ids"], **media)
    inputs["prompt_ids"] = prompt["input_ids"]
    meta["generation"] = {"smallest_lead": lead}
    return {"generated_ids": ids}


def save_grads(folder, twin):
    twin.save_pretrained(folder / "grads")
    for extra in (folder / "grads").glob("*.json"):
        extra.unlink()
    hub_layout.rename_keys(folder / "grads", twin.config.model_type)


def save_io(folder, inputs, outputs):
    tensors = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v for k, v in outputs.items()}
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, folder / "io.safetensors")


def save_model(folder, model, dtype, shard, layout, spelling, defaults):
    model = model.to(dtype)
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if layout == "v5":
        tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        hub_layout.rewrite_config(folder, spelling="v5")
        return
    model_type = hub_layout.rewrite_config(folder, spelling, defaults)
    hub_layout.rename_keys(folder, model_type)


def write_meta(folder, name, about, meta):
    lines = [
        "# Written by scripts/parity/make_fixtures.py.",
        f'about = "{about}"',
        f'reference = "{reference.versions()}"',
        f'export = "python scripts/parity/make_fixtures.py tests/fixtures/parity {name}"',
        f"max_abs = {MAX_ABS}",
    ]
    for table, comment in (
        ("noise", "Largest difference between two right answers."),
        ("gradients", "Noise: absolute, then in units of the largest of each tensor; and the largest of all."),
        ("sensitivity", "Largest difference that a mistake makes; below max_abs it goes unnoticed here."),
        ("generation", "How far each chosen token led over the next best, at least."),
    ):
        if table in meta:
            lines += ["", f"# {comment}", f"[{table}]"]
            lines += [f'{k if k.isidentifier() else quote(k)} = {v:.1e}' for k, v in meta[table].items()]
    (folder / "META.toml").write_text("\n".join(lines) + "\n")


def quote(key):
    return f'"{key}"'


def report(name, folder, outputs, meta):
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    magnitudes = {k: round(v.abs().max().item(), 3) for k, v in outputs.items() if v.is_floating_point()}
    print(f"{name}: {size / 1024:.0f} KiB, |out| {magnitudes}")
    for table, values in meta.items():
        print(f"  {table}: " + ", ".join(f"{k} {v:.1e}" for k, v in values.items()))
