"""What rows of scripts/bench/peer.py have in common: the models' sizes, tokens, and the update of a trainer."""

import torch

# As `mmtrain bench --small`: a quarter as wide, of two blocks and few words, two rows at most, text an eighth as long.
SMALL = False

# What can be done to a model beside making it, and what was asked for.
WAYS = ("compile", "liger", "compile_liger")
WAY = ""


def llama(hidden, inner, blocks, heads, kv_heads, vocab, tied):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        attn_implementation="sdpa",
    )
    return sized(config)


def small():
    """34 M parameters."""
    return llama(512, 1408, 8, 8, 8, 8192, False)


def smol():
    """The size of SmolLM2-135M."""
    return llama(576, 1536, 30, 9, 3, 49152, True)


def qwen2():
    """The size of Qwen2-0.5B."""
    from transformers import Qwen2Config

    config = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151936,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    return sized(config)


def siglip():
    """ViT-B/16 of 224 pixels."""
    from transformers import SiglipVisionConfig

    return sized(
        # Features are taken without the head that pools them.
        SiglipVisionConfig(vision_use_head=False, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=16)
    )


def vicuna():
    """The size of Vicuna-7B, as in LLaVA-1.5."""
    return llama(4096, 11008, 32, 32, 32, 32000, False)


def qwen2_vl_text():
    """The sizes of Qwen2-VL-2B's decoder."""
    return {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    }


def qwen2_1b5():
    from transformers import Qwen2Config

    return sized(Qwen2Config(**qwen2_vl_text(), attn_implementation="sdpa"))


def clip():
    """ViT-L/14 of 336 pixels."""
    from transformers import CLIPVisionConfig

    return sized(
        CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14)
    )


def sized(config):
    """A configuration, in small where that was asked for."""
    if not SMALL:
        return config
    config.hidden_size //= 4
    config.intermediate_size //= 4
    config.num_hidden_layers = 2
    if getattr(config, "head_dim", None):
        config.head_dim //= 4
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:2]
    if hasattr(config, "vocab_size"):
        config.vocab_size = 1024
    return config


def on_gpu():
    return torch.get_default_device().type == "cuda"


def held(model):
    """What is frozen in 16 bits on a GPU, as scripts load it there."""
    for parameter in model.parameters() if on_gpu() else ():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


def readied(model):
    """A model as the way that was asked for has it."""
    if "liger" in WAY:
        # As transformers' Trainer does with `use_liger_kernel`.
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        _apply_liger_kernel_to_instance(model=base)
    if "compile" in WAY:
        # In place, so that it stays a model of its class.
        model.compile()
    return model


def rows(count):
    return min(count, 2) if SMALL else count


def tokens(count):
    return count // 8 if SMALL else count


def ids(vocab, *shape):
    return torch.randint(4, vocab, shape)


def trainer(model):
    """AdamW over what is trained, gradients clipped, as a Trainer does it."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05, fused=True)

    def update(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    update.optimizer = optimizer
    return update
