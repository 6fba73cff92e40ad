"""Steps of training as scripts with transformers, PEFT and TRL make them: one function for each kind, whatever the sizes."""

import torch
from peer_parts import held, ids, readied, rows, tokens, trainer


def causal(config, adapters):
    """A decoder that is trained whole, or beside which adapters of rank 16 are."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config).train()
    if not adapters:
        return readied(model)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return readied(held(get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))))


def text(config, count, seq, learned, adapters=False):
    """Rows of text, of which the last tokens are learned."""
    model = causal(config, adapters)
    update = trainer(model)
    seq, learned = tokens(seq), tokens(learned)
    x = ids(config.vocab_size, rows(count), seq)
    labels = x.clone()
    labels[:, : seq - learned] = -100
    return (lambda: update(model(input_ids=x, labels=labels, use_cache=False).loss)), x.numel()


def alignment(tower, layer, select, language, count, learned):
    """Tower and decoder frozen, the connector of two linear layers trained; rows of a picture and tokens that are learned."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=tower,
        text_config=language,
        image_token_index=3,
        vision_feature_layer=layer,
        vision_feature_select_strategy=select,
        projector_hidden_act="gelu",
    )
    model = LlavaForConditionalGeneration(config).train()
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("multi_modal_projector" in name)
    model = readied(held(model))
    update = trainer(model)
    count, patches = rows(count), (tower.image_size // tower.patch_size) ** 2
    pixels = torch.rand(count, 3, tower.image_size, tower.image_size)
    x = torch.cat([torch.full((count, patches), 3), ids(language.vocab_size, count, learned)], 1)
    labels = x.masked_fill(x == 3, -100)

    def step():
        update(model(input_ids=x, pixel_values=pixels, labels=labels, use_cache=False).loss)

    return step, x.numel()


def pairs(config, count, prompt, answer, adapters=False):
    """Pairs as TRL computes them by default: both answers with their prompt in one batch, the reference model beside it in every
    step; where adapters are trained, the model without them is the reference."""
    model = causal(config, adapters)
    reference = None
    if not adapters:
        reference = causal(config, False).eval().requires_grad_(False)
        reference.load_state_dict(model.state_dict())
        held(reference)
    update = trainer(model)
    count, prompt, answer = rows(count), tokens(prompt), tokens(answer)
    prompts, answers = ids(config.vocab_size, count, prompt), ids(config.vocab_size, 2 * count, answer)
    x = torch.cat([prompts.repeat(2, 1), answers], 1)

    def logps(model):
        logits = model(input_ids=x, use_cache=False).logits[:, prompt - 1 : -1]
        return torch.gather(logits.log_softmax(-1), 2, x[:, prompt:, None]).squeeze(2).sum(1)

    def known():
        if reference is not None:
            return logps(reference)
        with model.disable_adapter():
            return logps(model)

    def step():
        with torch.no_grad():
            theirs = known()
        margin = logps(model) - theirs
        update(-torch.nn.functional.logsigmoid(0.1 * (margin[:count] - margin[count:])).mean())

    return step, x.numel()
