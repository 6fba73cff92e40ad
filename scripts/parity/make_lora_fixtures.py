"""Makes tests/fixtures/parity_lora: adapters of the PEFT library beside tests/fixtures/parity/llava.

    python make_lora_fixtures.py PARITY OUT      such as tests/fixtures/parity tests/fixtures/parity_lora

Needs peft beside torch and transformers. Each case is what `save_pretrained` writes, with a second factor that is not
zero, `io.safetensors` (inputs of `llava`, outputs with the adapters) and the gradients of the adapters under the names of
their tensors. Everything is computed in float32 with eager attention on one thread.
"""

import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

DECODER = "model.language_model.layers."
TOWER = "model.vision_tower.encoder.layers."
CONNECTOR = "model.multi_modal_projector."


def layers(model, *starts, ends=("",)):
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    # The last block of the tower is behind the features.
    return [n for n in linear if n.startswith(starts) and n.endswith(ends) and not n.startswith(TOWER + "2.")]


def cases(model):
    decoder = layers(model, DECODER)
    tower = layers(model, TOWER, ends=("q_proj", "v_proj"))
    smaller = dict(rank_pattern={n: 2 for n in tower}, alpha_pattern={n: 3 for n in tower})
    yield "lora", LoraConfig(r=4, lora_alpha=8, target_modules=decoder + tower, **smaller)
    yield "rslora", LoraConfig(r=4, lora_alpha=8, use_rslora=True, target_modules=decoder)
    yield "dora", LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=decoder + layers(model, CONNECTOR))


def scramble(model):
    """No second factor is zero, and no size is that of its weights."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
        elif "lora_magnitude_vector" in name:
            parameter.data *= 1 + 0.2 * torch.randn(parameter.shape, generator=generator)


def gradients(model):
    """Under the names of the saved tensors."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return get_peft_model_state_dict(model, {name: p.grad for name, p in trained.items()})


def main(parity, out):
    base, recorded = parity / "llava", load_file(parity / "llava" / "io.safetensors")
    inputs = {n[3:]: t for n, t in recorded.items() if n.startswith("in.") and n != "in.prompt_ids"}
    names = [name for name, _ in cases(LlavaForConditionalGeneration.from_pretrained(base))]
    for number, name in enumerate(names):
        model = LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
        torch.manual_seed(number)
        model = get_peft_model(model, list(cases(model))[number][1])
        scramble(model)
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        result = model(**inputs, use_cache=False)
        result.loss.backward()
        logits = result.logits * inputs["attention_mask"][..., None]
        outputs = {"out.logits": logits.detach().contiguous(), "out.loss": result.loss.detach()[None]}
        save_file({f"in.{n}": t for n, t in inputs.items()} | outputs, folder / "io.safetensors")
        (folder / "grads").mkdir()
        grads = {n: g.contiguous() for n, g in gradients(model).items()}
        with safe_open(folder / "adapter_model.safetensors", "pt") as saved:
            assert set(grads) == set(saved.keys())
        save_file(grads, folder / "grads" / "adapter_model.safetensors")
        change = (logits - recorded["out.logits"]).abs().max().item()
        print(f"{name}: {len(grads)} tensors, logits move by {change:.3g}, loss {result.loss.item():.6f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
