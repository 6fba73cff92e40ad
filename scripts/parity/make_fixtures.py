"""Makes tests/fixtures/parity: tiny random models of `transformers` with inputs, outputs and gradients.

    python make_fixtures.py OUT [NAME ...]      no NAME: all; see README.md for what to install and what a case holds

Nothing is downloaded: each model is built from a tiny config and filled with seeded random numbers.
"""

import sys

import torch
from transformers import (
    Blip2VisionConfig, Blip2VisionModel, CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model,
    Dinov2WithRegistersConfig, Dinov2WithRegistersModel, Idefics3VisionConfig, Idefics3VisionTransformer, LlamaConfig,
    LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration, MistralConfig, MistralForCausalLM, MllamaVisionModel,
    Qwen2AudioEncoder, Qwen2AudioEncoderConfig, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, SiglipVisionConfig,
    SiglipVisionModel, WhisperConfig,
)
from transformers.models.mllama.configuration_mllama import MllamaVisionConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import whole_audio  # noqa: F401 - fills RECIPES, as the next ones do
import whole_images  # noqa: F401
import whole_mllama  # noqa: F401
import whole_qwen_vl  # noqa: F401
from fixture import write_case
from recipes import AUDIO, IMAGE_TOKEN, RECIPES, TEXT, TEXT_SMALL, VISION, VISION_SMALL, recipe, rope
from reference import generator, noise_tensor, quiet, restless, round_to, run, scramble

IMAGE_TOKENS = 16


# ---- language models


def lm_inputs(vocab):
    """Two rows of 12 tokens; the first is padded by three on the left. No loss on the first five."""
    ids = torch.randint(3, vocab, (2, 12), generator=generator(1))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    labels = ids.clone()
    labels[:, :5] = -100
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def lm_forward(model, inputs):
    r = model(**{k: inputs[k] for k in ("input_ids", "attention_mask", "labels")}, use_cache=False)
    # What a fully masked row holds differs between implementations, so nobody should compare it.
    return {"logits": r.logits * inputs["attention_mask"][..., None], "loss": r.loss[None]}


def language_model(out, name, model, generate=True, **case):
    prompt = dict(input_ids=torch.tensor([[1, 5, 6, 7]])) if generate else None
    write_case(out, name, model, lm_inputs(model.config.vocab_size), lm_forward, prompt=prompt, **case)


@recipe
def llama(out):
    model = scramble(LlamaForCausalLM(LlamaConfig(**TEXT, rms_norm_eps=1e-5)))
    language_model(
        out, "llama", model, grads=True, about="Llama: grouped-query attention, untied head, a left-padded row",
        mistakes={"rms_norm_eps 1e-6": {"rms_norm_eps": 1e-6}, "rope_theta 1e5": {"rope_parameters.rope_theta": 1e5}},
    )


@recipe
def llama_mha_untied(out):
    config = LlamaConfig(**TEXT | dict(num_key_value_heads=4), rms_norm_eps=1e-6, rope_parameters=rope(5e5))
    language_model(
        out, "llama_mha_untied", scramble(LlamaForCausalLM(config)),
        about="Llama: as many key as query heads, untied head, rope theta 5e5",
    )


@recipe
def llama3_rope(out):
    scaling = dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
    )
    config = LlamaConfig(
        **TEXT | dict(num_hidden_layers=1), head_dim=16, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters=rope(5e5, **scaling),
    )
    language_model(
        out, "llama3_rope", scramble(LlamaForCausalLM(config)),
        about="Llama 3.2: scaled rotary frequencies, tied head, head_dim that is not hidden / heads",
        mistakes={"no scaling": {"rope_parameters.rope_type": "default"}},
    )


@recipe
def qwen2(out):
    config = Qwen2Config(**TEXT, rope_parameters=rope(1e6), tie_word_embeddings=True)
    language_model(
        out, "qwen2", restless(scramble(Qwen2ForCausalLM(config))), grads=True,
        about="Qwen2: bias on q, k, v, tied head, rope theta 1e6",
        mistakes={"rms_norm_eps 1e-5": {"rms_norm_eps": 1e-5}, "rope_theta 1e4": {"rope_parameters.rope_theta": 1e4}},
    )


@recipe
def qwen2_untied(out):
    config = Qwen2Config(**TEXT, rope_parameters=rope(1e6), tie_word_embeddings=False)
    language_model(
        out, "qwen2_untied", scramble(Qwen2ForCausalLM(config)), spelling="v4",
        about="Qwen2 with its own head; the config has rope_theta only, as transformers 4 writes it",
    )


@recipe
def llama_linear_rope(out):
    config = LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5, rope_parameters=rope(1e4, rope_type="linear", factor=4.0))
    language_model(
        out, "llama_linear_rope", scramble(LlamaForCausalLM(config)),
        about="Llama as Vicuna 1.5 16k: all rotary frequencies divided by four",
        mistakes={"no scaling": {"rope_parameters.rope_type": "default"}},
    )


@recipe
def llama_dynamic_rope(out):
    scaling = rope(1e4, rope_type="dynamic", factor=2.0)
    config = LlamaConfig(**TEXT_SMALL | dict(max_position_embeddings=8), rms_norm_eps=1e-5, rope_parameters=scaling)
    language_model(
        out, "llama_dynamic_rope", scramble(LlamaForCausalLM(config)),
        about="Llama whose rotary base grows with the length of the sequence from position 8 on",
        mistakes={"no scaling": {"rope_parameters.rope_type": "default"}},
    )


@recipe
def llama_yarn(out):
    scaling = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
    config = LlamaConfig(
        **TEXT_SMALL | dict(num_attention_heads=2, num_key_value_heads=1), head_dim=16, rms_norm_eps=1e-5,
        rope_parameters=rope(1e4, **scaling),
    )
    language_model(
        out, "llama_yarn", scramble(LlamaForCausalLM(config)),
        about="Llama with YaRN: frequencies divided along a ramp, cosines and sines scaled",
        mistakes={
            "no scaling": {"rope_parameters.rope_type": "default"},
            "no attention factor": {"rope_parameters.attention_factor": 1.0},
            "ramp that starts elsewhere": {"rope_parameters.beta_slow": 4.0},
        },
    )


@recipe
def llama_mlp_bias(out):
    config = LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5, mlp_bias=True, attention_bias=True, hidden_act="gelu")
    language_model(
        out, "llama_mlp_bias", scramble(LlamaForCausalLM(config)),
        about="Llama with a bias on all projections of attention and MLP, and another activation",
        mistakes={"silu": {"hidden_act": "silu"}, "gelu (tanh)": {"hidden_act": "gelu_pytorch_tanh"}},
    )


@recipe
def mistral(out):
    config = MistralConfig(**TEXT, rms_norm_eps=1e-5, sliding_window=6)
    language_model(
        out, "mistral", scramble(MistralForCausalLM(config)), grads=True,
        about="Mistral: a window of six keys, shorter than the sequences and what is generated",
        mistakes={"window of seven": {"sliding_window": 7}, "no window": {"sliding_window": None}},
    )


@recipe
def qwen2_sliding(out):
    config = Qwen2Config(
        **TEXT_SMALL | dict(num_hidden_layers=3), rope_parameters=rope(1e6), tie_word_embeddings=False,
        use_sliding_window=True, sliding_window=5, max_window_layers=1,
    )
    layers = ["full_attention", "sliding_attention", "sliding_attention"]
    language_model(
        out, "qwen2_sliding", scramble(Qwen2ForCausalLM(config)),
        about="Qwen2 with a window of five keys in all blocks but the first",
        mistakes={
            "window of six": {"sliding_window": 6},
            "window in the last block only": {"layer_types": ["full_attention", *layers[:2]]},
            "window in all blocks": {"layer_types": layers[1:] + layers[1:2]},
        },
    )


@recipe
def qwen3(out):
    config = Qwen3Config(**TEXT, head_dim=16, rope_parameters=rope(1e6), tie_word_embeddings=True)
    language_model(
        out, "qwen3", restless(scramble(Qwen3ForCausalLM(config))), grads=True,
        about="Qwen3: norms of query and key heads, head_dim that is not hidden / heads, tied head",
        mistakes={"rms_norm_eps 1e-5": {"rms_norm_eps": 1e-5}, "rope_theta 1e4": {"rope_parameters.rope_theta": 1e4}},
    )


@recipe
def llama_low_variance(out):
    model = quiet(scramble(LlamaForCausalLM(LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5))), 0.02)
    language_model(
        out, "llama_low_variance", model, generate=False,
        about="Llama with activations so small that the epsilon of its norms counts",
        mistakes={"rms_norm_eps 1e-6": {"rms_norm_eps": 1e-6}},
    )


@recipe
def qwen2_low_variance(out):
    config = Qwen2Config(**TEXT_SMALL, rope_parameters=rope(1e6), tie_word_embeddings=False)
    language_model(
        out, "qwen2_low_variance", quiet(scramble(Qwen2ForCausalLM(config)), 0.01), generate=False,
        about="Qwen2 with activations so small that the epsilon of its norms counts",
        mistakes={"rms_norm_eps 1e-5": {"rms_norm_eps": 1e-5}},
    )


def half_llama(out, name, dtype):
    model = round_to(scramble(LlamaForCausalLM(LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5))), dtype)
    stored = str(dtype).removeprefix("torch.")
    about = f"Llama stored as {stored}; expected values computed in float32 from the stored weights"
    language_model(out, name, model, dtype=dtype, about=about)


@recipe
def llama_bf16(out):
    half_llama(out, "llama_bf16", torch.bfloat16)


@recipe
def llama_f16(out):
    half_llama(out, "llama_f16", torch.float16)


# ---- image towers


def tower_outputs(r, inputs, last):
    """Hidden states by name, and where weights are given a loss: the weighted sum of `last`."""
    outputs = {"last": r.last_hidden_state, "hs_m2": r.hidden_states[-2]}
    if getattr(r, "pooler_output", None) is not None:
        outputs["pool"] = r.pooler_output
    if "loss_weights" in inputs:
        outputs["loss"] = (outputs[last] * inputs["loss_weights"]).sum()[None]
    return outputs


def vision_forward(model, inputs):
    media = {k: v for k, v in inputs.items() if k != "loss_weights"}
    return tower_outputs(model(**media, output_hidden_states=True), inputs, "last")


def tower(out, name, model, mistakes, about, *, inputs=None, forward=vision_forward, grads=False, weights_of="last"):
    size = getattr(model.config, "image_size", None)
    inputs = inputs or dict(pixel_values=noise_tensor(2, 3, size, size))
    if grads:
        shape = run(model, forward, inputs)[weights_of].shape
        inputs = inputs | dict(loss_weights=noise_tensor(*shape, seed=3) / shape.numel())
    write_case(out, name, model, inputs, forward, about=about, mistakes=mistakes, grads=grads)


@recipe
def clip_vision(out):
    tower(
        out, "clip_vision", scramble(CLIPVisionModel(CLIPVisionConfig(**VISION))),
        {"gelu (erf)": {"hidden_act": "gelu"}, "layer_norm_eps 1e-6": {"layer_norm_eps": 1e-6}},
        "CLIP tower: class token, pre-norm, quick_gelu; pool is the normalised class token",
    )


@recipe
def clip_vision_low_variance(out):
    tower(
        out, "clip_vision_low_variance", quiet(scramble(CLIPVisionModel(CLIPVisionConfig(**VISION_SMALL))), 3e-3),
        {"layer_norm_eps 1e-6": {"layer_norm_eps": 1e-6}},
        "CLIP tower with activations so small that the epsilon of its norms counts (see out.pool)",
    )


SIGLIP_MISTAKES = {"gelu (erf)": {"hidden_act": "gelu"}, "layer_norm_eps 1e-5": {"layer_norm_eps": 1e-5}}


@recipe
def siglip_vision(out):
    tower(
        out, "siglip_vision", scramble(SiglipVisionModel(SiglipVisionConfig(**VISION, vision_use_head=False))),
        SIGLIP_MISTAKES, "SigLIP tower without the pooling head; last is after post_layernorm",
    )


@recipe
def siglip_vision_head(out):
    tower(
        out, "siglip_vision_head", scramble(SiglipVisionModel(SiglipVisionConfig(**VISION))),
        SIGLIP_MISTAKES, "SigLIP tower whose file holds the attention pooling head",
    )


@recipe
def siglip_vision_low_variance(out):
    config = SiglipVisionConfig(**VISION_SMALL, vision_use_head=False)
    tower(
        out, "siglip_vision_low_variance", quiet(scramble(SiglipVisionModel(config)), 1e-3),
        {"layer_norm_eps 1e-5": {"layer_norm_eps": 1e-5}},
        "SigLIP tower with activations so small that the epsilon of its norms counts",
    )


DINOV2 = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=28, patch_size=7)
DINOV2_MISTAKES = {"gelu (tanh)": {"hidden_act": "gelu_pytorch_tanh"}, "layer_norm_eps 1e-5": {"layer_norm_eps": 1e-5}}


@recipe
def dinov2(out):
    tower(
        out, "dinov2", scramble(Dinov2Model(Dinov2Config(**DINOV2))), DINOV2_MISTAKES, grads=True,
        about="DINOv2: class token, layer scale, gelu (erf), layernorm on all tokens; pool is the class token",
    )


@recipe
def dinov2_swiglu(out):
    config = Dinov2Config(**DINOV2 | dict(mlp_ratio=3), use_swiglu_ffn=True)
    tower(
        out, "dinov2_swiglu", quiet(scramble(Dinov2Model(config)), 0.05),
        {"layer_norm_eps 1e-5": {"layer_norm_eps": 1e-5}},
        "DINOv2 giant's gated MLP, with activations so small that the epsilon of its norms counts",
    )


@recipe
def dinov2_interpolated(out):
    tower(
        out, "dinov2_interpolated", scramble(Dinov2Model(Dinov2Config(**DINOV2))), DINOV2_MISTAKES,
        "DINOv2 on 5 x 3 patches: the 4 x 4 table of positions is interpolated (bicubic, a = -0.75)",
        inputs=dict(pixel_values=noise_tensor(2, 3, 35, 21)),
    )


@recipe
def dinov2_registers(out):
    config = Dinov2WithRegistersConfig(**DINOV2, num_register_tokens=3)
    tower(
        out, "dinov2_registers", scramble(Dinov2WithRegistersModel(config)), DINOV2_MISTAKES,
        "DINOv2 with registers on 6 x 3 patches: positions are interpolated with antialiasing (bicubic, a = -0.5)",
        inputs=dict(pixel_values=noise_tensor(2, 3, 42, 21)),
    )


@recipe
def blip2_vision(out):
    tower(
        out, "blip2_vision", scramble(Blip2VisionModel(Blip2VisionConfig(**VISION))),
        {"gelu (tanh)": {"hidden_act": "gelu_pytorch_tanh"}, "layer_norm_eps 1e-5": {"layer_norm_eps": 1e-5}},
        "BLIP-2's EVA tower: fused qkv, post_layernorm on all tokens; pool is the class token normed once more",
        grads=True,
    )


@recipe
def idefics3_vision(out):
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0], mask[1, :3, :2] = True, True
    tower(
        out, "idefics3_vision", scramble(Idefics3VisionTransformer(Idefics3VisionConfig(**VISION))), SIGLIP_MISTAKES,
        "Idefics3 and SmolVLM: SigLIP with positions in buckets; the second image is 3 x 2 patches in a padded frame",
        inputs=dict(pixel_values=noise_tensor(2, 3, 28, 28), patch_attention_mask=mask),
    )


def mllama_forward(model, inputs):
    """One picture per row. Tiles lie one after the other: [images * tiles, tokens, width]"""
    r = model(
        inputs["pixel_values"][:, None], aspect_ratio_ids=inputs["aspect_ratio_ids"],
        aspect_ratio_mask=inputs["aspect_ratio_mask"][:, None],
    )
    outputs = {"last": r.last_hidden_state.flatten(0, 2)}
    if "loss_weights" in inputs:
        outputs["loss"] = (outputs["last"] * inputs["loss_weights"]).sum()[None]
    return outputs


@torch.no_grad()
def open_gates(model):
    """Far enough from zero that both sides of each gate count."""
    for name, p in model.named_parameters():
        if "gate" in name.split(".")[-1]:
            p.add_(0.5)
    return model


MLLAMA = dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_global_layers=2, attention_heads=2, image_size=14,
    patch_size=4, norm_eps=1e-4, max_num_tiles=3, intermediate_layers_indices=[0, 2], vision_output_dim=48,
    supported_aspect_ratios=[[1, 1], [1, 2], [1, 3], [2, 1]],
)


@recipe
def mllama_vision(out):
    # Ten tokens of a tile are padded to sixteen; two, one and no tiles are padding.
    ids = torch.tensor([[1], [4], [3]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    tower(
        out, "mllama_vision", open_gates(scramble(MllamaVisionModel(MllamaVisionConfig(**MLLAMA)))),
        {
            "gelu (tanh)": {"hidden_act": "gelu_pytorch_tanh"}, "norm_eps 1e-5": {"norm_eps": 1e-5},
            "other blocks saved": {"intermediate_layers_indices": [1, 2]},
        },
        "Mllama's tower: pictures of one, two and three tiles; norm_eps is not that of the norms around the transformers",
        inputs=dict(pixel_values=noise_tensor(3, 3, 3, 14, 14), aspect_ratio_ids=ids, aspect_ratio_mask=mask),
        forward=mllama_forward, grads=True,
    )


def qwen_vl_forward(model, inputs):
    r = model(inputs["pixel_values"], grid_thw=inputs["grid_thw"], output_hidden_states=True)
    outputs = tower_outputs(r, {}, "last")
    outputs["merged"] = outputs.pop("pool")
    if "loss_weights" in inputs:
        outputs["loss"] = (outputs["merged"] * inputs["loss_weights"]).sum()[None]
    return outputs


def another_epsilon(eps):
    """No config of these towers has the epsilon of their norms."""
    def change(model):
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = eps
            elif hasattr(module, "variance_epsilon"):
                module.variance_epsilon = eps
    return change


QWEN2_VL = dict(depth=3, embed_dim=16, hidden_size=24, num_heads=2, mlp_ratio=2, patch_size=4)


@recipe
def qwen2_vl_vision(out):
    grid = torch.tensor([[1, 4, 6], [2, 4, 4], [1, 4, 4]])
    tower(
        out, "qwen2_vl_vision", quiet(scramble(Qwen2VisionTransformerPretrainedModel(Qwen2VLVisionConfig(**QWEN2_VL))), 0.1),
        {"gelu (erf)": {"hidden_act": "gelu"}, "eps 1e-5": another_epsilon(1e-5)},
        "Qwen2-VL's tower and merger on an image, a video of two frame pairs and an image",
        inputs=dict(pixel_values=noise_tensor(72, 3 * 2 * 4 * 4), grid_thw=grid),
        forward=qwen_vl_forward, grads=True, weights_of="merged",
    )


# A window is 2 x 2 blocks of 2 x 2 patches.
QWEN2_5_VL = dict(
    depth=3, hidden_size=16, out_hidden_size=24, num_heads=2, intermediate_size=20, patch_size=4, window_size=16,
    fullatt_block_indexes=[1],
)


@recipe
def qwen2_5_vl_vision(out):
    grid = torch.tensor([[1, 6, 10], [1, 4, 4], [2, 4, 6]])
    model = Qwen2_5_VisionTransformerPretrainedModel(Qwen2_5_VLVisionConfig(**QWEN2_5_VL))
    tower(
        out, "qwen2_5_vl_vision", quiet(scramble(model), 0.1),
        {
            "gelu (erf)": {"hidden_act": "gelu"}, "eps 1e-5": another_epsilon(1e-5), "windows only": {"fullatt_block_indexes": []},
            "frames only": {"fullatt_block_indexes": [0, 1, 2]}, "other windows": {"window_size": 24},
        },
        "Qwen2.5-VL's tower and merger on two images and a video: windows cut at the border, one block sees the frame",
        inputs=dict(pixel_values=noise_tensor(124, 3 * 2 * 4 * 4), grid_thw=grid),
        forward=qwen_vl_forward, grads=True, weights_of="merged",
    )


# ---- audio towers


def audio_forward(model, inputs):
    """The mask is over frames after the second convolution; Whisper takes none."""
    mask = {}
    if "feature_mask" in inputs:
        hidden = (1 - inputs["feature_mask"])[:, None, None, :].to(inputs["input_features"].dtype)
        mask = dict(attention_mask=hidden.expand(-1, -1, hidden.shape[-1], -1) * -1e9)
    r = model(inputs["input_features"], **mask, output_hidden_states=True)
    return tower_outputs(r, inputs, "last")


@recipe
def whisper_encoder(out):
    config = WhisperConfig(
        **AUDIO, vocab_size=64, decoder_layers=1, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )
    tower(
        out, "whisper_encoder", quiet(scramble(WhisperEncoder(config)), 0.1),
        {"gelu (tanh)": {"activation_function": "gelu_pytorch_tanh"}, "eps 1e-6": another_epsilon(1e-6)},
        "Whisper's encoder: two convolutions, key projection without bias, layer_norm",
        inputs=dict(input_features=noise_tensor(2, 8, 40)), forward=audio_forward, grads=True,
    )


@recipe
def qwen2_audio_encoder(out):
    # The second clip has 29 mel frames, which are 15 behind the convolutions.
    mask = torch.ones(2, 20, dtype=torch.long)
    mask[1, 15:] = 0
    tower(
        out, "qwen2_audio_encoder", quiet(scramble(Qwen2AudioEncoder(Qwen2AudioEncoderConfig(**AUDIO))), 0.1),
        {"eps 1e-6": another_epsilon(1e-6)},
        "Qwen2-Audio's encoder: Whisper's with padding masked, frames averaged in pairs before layer_norm",
        inputs=dict(input_features=noise_tensor(2, 8, 40), feature_mask=mask), forward=audio_forward,
    )


# ---- whole models


def vlm_inputs():
    """Two rows of 24 tokens with one image each; the second is padded by two on the right. Loss on the answers."""
    image = [IMAGE_TOKEN] * IMAGE_TOKENS
    ids = torch.tensor([[1, 7, 8, *image, 9, 10, 11, 12, 2], [1, *image, 13, 14, 15, 16, 2, 0, 0]])
    mask = (ids != 0).long()
    labels = ids.clone()
    labels[0, :21] = -100
    labels[1, :18] = -100
    labels[mask == 0] = -100
    side = VISION_SMALL["image_size"]
    return dict(input_ids=ids, attention_mask=mask, pixel_values=noise_tensor(2, 3, side, side), labels=labels)


def image_features(model, pixel_values):
    """What is spliced into the text. [images, tokens, hidden]"""
    features = model.get_image_features(pixel_values=pixel_values)
    return torch.stack(list(getattr(features, "pooler_output", features)))


def vlm_forward(model, inputs):
    r = model(**{k: v for k, v in inputs.items() if k != "prompt_ids"}, use_cache=False)
    logits = r.logits * inputs["attention_mask"][..., None]
    return {"logits": logits, "loss": r.loss[None], "image_features": image_features(model, inputs["pixel_values"])}


def vlm(out, name, model, **case):
    inputs = vlm_inputs()
    # The first row up to its answer. Only one prompt: the image is the first of the two.
    prompt = dict(input_ids=inputs["input_ids"][:1, :21], pixel_values=inputs["pixel_values"][:1])
    write_case(out, name, model, inputs, vlm_forward, prompt=prompt, **case)


def clip_llama():
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION_SMALL), text_config=LlamaConfig(**TEXT_SMALL, rms_norm_eps=1e-5),
        image_token_index=IMAGE_TOKEN, image_seq_length=IMAGE_TOKENS, vision_feature_layer=-2,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
    )
    return scramble(LlavaForConditionalGeneration(config))


@recipe
def llava(out):
    vlm(
        out, "llava", clip_llama(), grads=True,
        about="LLaVA-1.5: CLIP tower (second to last layer, class token dropped), two-layer MLP, Llama",
        mistakes={
            "projector gelu (tanh)": {"projector_hidden_act": "gelu_pytorch_tanh"},
            "last layer": {"vision_feature_layer": -1},
            "tower gelu (erf)": {"vision_config.hidden_act": "gelu"},
        },
    )


@recipe
def llava_siglip_qwen2(out):
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(**VISION_SMALL, vision_use_head=False),
        text_config=Qwen2Config(**TEXT_SMALL, rope_parameters=rope(1e6), tie_word_embeddings=True),
        image_token_index=IMAGE_TOKEN, image_seq_length=IMAGE_TOKENS, vision_feature_layer=-1,
        vision_feature_select_strategy="full", tie_word_embeddings=True,
    )
    vlm(
        out, "llava_siglip_qwen2", restless(scramble(LlavaForConditionalGeneration(config), seed=19)), grads=True,
        about="LLaVA: SigLIP tower (last layer before post_layernorm, all tokens), MLP, Qwen2 with a tied head",
        mistakes={
            "second to last layer": {"vision_feature_layer": -2},
            "tower gelu (erf)": {"vision_config.hidden_act": "gelu"},
        },
    )


@recipe
def llava_sharded(out):
    defaults = dict(text_config=LlamaConfig().to_dict(), vision_config=CLIPVisionConfig().to_dict())
    vlm(
        out, "llava_sharded", clip_llama(), shard="40KB", spelling="v4", defaults=defaults,
        about="The model of case llava in three files; the config leaves out class defaults, as on the Hub",
    )


@recipe
def llava_v5_names(out):
    vlm(
        out, "llava_v5_names", clip_llama(), layout="v5",
        about="The model of case llava with the module names and the config spelling of transformers 5",
    )


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(f"{__doc__}\nNames: {' '.join(RECIPES)}")
    out, *names = arguments
    unknown = [n for n in names if n not in RECIPES]
    if unknown:
        sys.exit(f"unknown name: {' '.join(unknown)}\nNames: {' '.join(RECIPES)}")
    for name in names or RECIPES:
        RECIPES[name](out)


if __name__ == "__main__":
    main(sys.argv[1:])
