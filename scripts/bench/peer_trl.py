"""Steps of TRL's own DPOTrainer over pairs of random tokens."""

import tempfile
import time

import torch
from peer_parts import ids, rows, tokens


def trainer_of(config, count, prompt, answer, steps):
    """A trainer whose data are tokens already; no graph is made twice, nothing is logged or saved."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    class OfTokens(DPOTrainer):
        def _prepare_dataset(self, dataset, *_):
            return dataset

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    length = {"prompt_ids": prompt, "chosen_ids": answer, "rejected_ids": answer}
    with torch.device("cpu"):
        data = [{name: ids(config.vocab_size, n).tolist() for name, n in length.items()} for _ in range(count * steps)]
    model, reference = (AutoModelForCausalLM.from_config(config) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    # TRL's default keeps no graphs; with them it is faster.
    settings = DPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=count,
        max_steps=steps,
        gradient_checkpointing=False,
        bf16=torch.get_default_device().type == "cuda",
        use_cpu=torch.get_default_device().type == "cpu",
        max_length=None,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return OfTokens(model, reference, settings, train_dataset=Dataset.from_list(data), processing_class=tokenizer)


def seconds(config, count, prompt, answer, warmup, steps):
    """Of each step, and the tokens of one: both answers of a pair with their prompt."""
    from transformers import TrainerCallback

    count, prompt, answer = rows(count), tokens(prompt), tokens(answer)
    trainer = trainer_of(config, count, prompt, answer, warmup + steps)
    times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            times.append(-time.perf_counter())

        def on_step_end(self, *_, **__):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[-1] += time.perf_counter()

    trainer.add_callback(Clock())
    # Its workers make tensors where they are told to.
    device = torch.get_default_device()
    torch.set_default_device("cpu")
    trainer.train()
    torch.set_default_device(device)
    return times[warmup:], 2 * count * (prompt + answer)
