"""What the configuration classes of transformers say where a `config.json` is silent.

    python scripts/parity/make_config_defaults.py tests/fixtures/config_defaults

writes VERSION.json for the version that is installed; torch is not needed. Each class is made of a file that holds its
`model_type` alone, and each class with parts also of one whose parts are there and empty. Keys that every class has, such
as those of generation, are left out.
"""

import json
import sys
from pathlib import Path

import transformers
from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.blip_2.configuration_blip_2 import Blip2VisionConfig
from transformers.models.mllama.configuration_mllama import MllamaVisionConfig

WHOLE = ("llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "mllama", "idefics3", "smolvlm", "qwen2_audio")
PARTS = ("vision_config", "text_config", "audio_config")
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
ENCODERS = (
    "clip", "clip_vision_model", "siglip", "siglip_vision_model", "dinov2", "dinov2_with_registers", "idefics3_vision",
    "smolvlm_vision", "whisper", "qwen2_audio_encoder",
)
# Version 4 does not list these by their names.
OTHER_ENCODERS = {"blip_2_vision_model": Blip2VisionConfig, "mllama_vision_model": MllamaVisionConfig}
KEPT = ("model_type", "tie_word_embeddings")


def own_keys(config, common):
    kept = ((key, value) for key, value in config.items() if key in KEPT or key not in common)
    return {key: own_keys(value, common) if key in PARTS else value for key, value in kept}


def main(out):
    common = set(PretrainedConfig().to_dict())
    describe = lambda cls, sparse: own_keys(cls.from_dict(sparse).to_dict(), common)
    found = {kind: {} for kind in ("whole", "empty_parts", "decoders", "encoders")}
    for name in WHOLE:
        parts = {key: {} for key in describe(CONFIG_MAPPING[name], {"model_type": name}) if key in PARTS}
        found["whole"][name] = describe(CONFIG_MAPPING[name], {"model_type": name})
        found["empty_parts"][name] = describe(CONFIG_MAPPING[name], {"model_type": name, **parts})
    for name in DECODERS:
        found["decoders"][name] = describe(CONFIG_MAPPING[name], {"model_type": name})
    for name in ENCODERS:
        found["encoders"][name] = describe(CONFIG_MAPPING[name], {"model_type": name})
    for name, cls in OTHER_ENCODERS.items():
        found["encoders"][name] = describe(cls, {"model_type": name})
    lines = (f'"{kind}": {{\n' + ",\n".join(f'"{n}": {json.dumps(c, sort_keys=True)}' for n, c in of.items()) + "\n}"
             for kind, of in found.items())
    path = Path(out) / f"{transformers.__version__}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
