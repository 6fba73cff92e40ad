"""Brings what `save_pretrained` of transformers 5 writes into the layout of the Hub, which 4.57 and 5.x both read.

- Models made from a config (and not loaded from disk) are saved without the `vision_model.` segment; 4.57 would
  then leave the tower random with only a warning. The Hub has `vision_tower.vision_model.*`.
- transformers 5 states the rotary embedding as `rope_parameters`; 4.x and the Hub as `rope_theta` and
  `rope_scaling`, and 4.x ignores the new spelling silently.
- `tie_word_embeddings` stands at the top level (5.x) or in `text_config` (4.x); the type of the weights is
  `dtype` (5.x) or `torch_dtype` (4.x).
"""

import json
import pathlib

from safetensors.torch import load_file, save_file

BARE_TOWERS = ("clip_vision_model", "siglip_vision_model")


def hub_key(model_type, key):
    if model_type in ("llava", "llava_next") and key.startswith("vision_tower.") and ".vision_model." not in key:
        return key.replace("vision_tower.", "vision_tower.vision_model.", 1)
    if model_type in BARE_TOWERS and not key.startswith("vision_model."):
        return f"vision_model.{key}"
    return key


def rename_keys(folder, model_type):
    """Renames the tensors of every safetensors file in `folder`, and the index where there is one."""
    folder = pathlib.Path(folder)
    for path in sorted(folder.glob("model*.safetensors")):
        tensors = {hub_key(model_type, k): v for k, v in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        content = json.loads(index.read_text())
        content["weight_map"] = {hub_key(model_type, k): v for k, v in content["weight_map"].items()}
        write_json(index, content)


def add_v4_rope(config):
    rope = config.get("rope_parameters")
    if not rope:
        return
    config["rope_theta"] = rope["rope_theta"]
    scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
    if "mrope_section" in scaling:
        scaling |= dict(type="mrope")
        config["rope_scaling"] = scaling
        return
    config["rope_scaling"] = None if scaling["rope_type"] == "default" else scaling


def both_spellings(config):
    text = config.get("text_config", config)
    add_v4_rope(text)
    if "tie_word_embeddings" in config:
        text["tie_word_embeddings"] = config["tie_word_embeddings"]
    config["torch_dtype"] = config["dtype"]


def flat_qwen_vl(config):
    """Published as if the language model were the whole: its fields stand at the top."""
    text, vision = config.pop("text_config"), config["vision_config"]
    config |= {k: v for k, v in text.items() if k not in config and k != "rope_parameters"}
    config["rope_scaling"] = dict(type="mrope", mrope_section=text["rope_scaling"]["mrope_section"])
    vision.pop("rope_parameters", None)
    vision["model_type"] = config["model_type"]
    vision["in_chans"] = vision["in_channels"]


def v4_spelling(config):
    """Only what transformers 4.x writes, as nearly every config on the Hub."""
    both_spellings(config)
    config.get("text_config", config).pop("rope_parameters", None)
    config.pop("dtype", None)


def prune_defaults(config, defaults):
    """Drops what equals the class default of each `model_type`, as `llava-hf/llava-1.5-7b-hf/config.json` does."""
    for part, known in defaults.items():
        kept = {k: v for k, v in config[part].items() if k == "model_type" or k not in known or known[k] != v}
        config[part] = kept


def rewrite_config(folder, spelling="both", defaults=None):
    path = pathlib.Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    if spelling == "both":
        both_spellings(config)
        if config["model_type"] in ("qwen2_vl", "qwen2_5_vl"):
            flat_qwen_vl(config)
    elif spelling == "v4":
        v4_spelling(config)
    if defaults:
        prune_defaults(config, defaults)
    write_json(path, dict(sorted(config.items())))
    return config["model_type"]


def write_json(path, content):
    pathlib.Path(path).write_text(json.dumps(content, indent=1) + "\n")
