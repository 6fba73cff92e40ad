"""`mmtrain export --decoder` in the hands of llama.cpp: its converter, and what its library and transformers make of the GGUF.

    pip install torch==2.15.0 transformers==5.24.0 gguf==0.19.0 sentencepiece==0.2.3 xllamacpp==2026.10.11549
    python scripts/parity/check_gguf.py MMTRAIN LLAMA_CPP WORK_DIR [CASE ...]

LLAMA_CPP is llama.cpp's source tree, with `convert_hf_to_gguf.py` and `models/ggml-vocab-*.gguf`, from which vocabularies are
taken. For each case a small random model is made as a directory from the hub; mmtrain exports its language model; the converter
writes it in f32. On a row of text transformers computes logits with the whole model, with the exported decoder and with the GGUF,
and llama.cpp continues it greedily as transformers does, from the ids and from the text. A tokenizer that was trained for the run
has to be refused by the converter, which knows tokenizers by a hash.
"""

import pathlib
import shutil
import subprocess
import sys

import gguf
import torch
import transformers
import xllamacpp
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from reference import scramble

PROMPT, NEW_TOKENS, TOLERANCE = "What is in the picture? 3 cats, 12 birds.", 16, 2e-5
TEXT = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
TOWER = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
SPECIAL = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def vocabulary(llama_cpp, name):
    """Tokens and merges of one of llama.cpp's own files."""
    fields = gguf.GGUFReader(llama_cpp / "models" / f"ggml-vocab-{name}.gguf").fields
    strings = lambda key: fields[f"tokenizer.ggml.{key}"].contents()
    return {token: index for index, token in enumerate(strings("tokens"))}, [tuple(m.split(" ")) for m in strings("merges")]


def qwen2_tokenizer(llama_cpp):
    vocab, merges = vocabulary(llama_cpp, "qwen2")
    return transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)


def llama3_tokenizer(llama_cpp):
    vocab, merges = vocabulary(llama_cpp, "llama-bpe")
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )


def trained_tokenizer(llama_cpp):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"])
    backend.train_from_iterator([PROMPT] * 4, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def llava(vocab):
    """The placeholder stands behind the vocabulary."""
    text = transformers.LlamaConfig(vocab_size=vocab, **TEXT, **SPECIAL)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**TOWER), text_config=text, image_token_index=vocab - 1,
        tie_word_embeddings=False,
    )
    return transformers.LlavaForConditionalGeneration(config)


def qwen2_vl(vocab):
    text = TEXT | dict(vocab_size=vocab, rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[2, 3, 3]))
    vision = dict(depth=2, embed_dim=32, hidden_size=64, num_heads=2, mlp_ratio=2, patch_size=14)
    ids = dict(image_token_id=vocab - 1, video_token_id=vocab - 2, vision_start_token_id=vocab - 3, vision_end_token_id=vocab - 4)
    return transformers.Qwen2VLForConditionalGeneration(
        transformers.Qwen2VLConfig(text_config=text | SPECIAL, vision_config=vision, tie_word_embeddings=True, **ids)
    )


TRAINED, UNKNOWN = "llava, a trained tokenizer", "BPE pre-tokenizer was not recognized"
CASES = {
    "llava, Llama 3's tokenizer": (llava, llama3_tokenizer), "qwen2_vl, Qwen2's tokenizer": (qwen2_vl, qwen2_tokenizer),
    TRAINED: (llava, trained_tokenizer),
}


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def need(*command):
    done = run(*command)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-1500:]}")


def apart(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def logits(model, ids):
    return model.eval()(input_ids=ids).logits.float()


@torch.no_grad()
def greedy(model, ids):
    """The tokens and their log-probabilities."""
    said = []
    for _ in range(NEW_TOKENS):
        best = model(input_ids=ids).logits[0, -1].log_softmax(-1).max(-1)
        said.append((best.indices.item(), best.values.item()))
        ids = torch.cat([ids, best.indices[None, None]], dim=1)
    return said


def continued(path, ids):
    """The same of llama.cpp, behind these ids, and behind the prompt as it splits it itself; and how many tokens that is."""
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.cpuparams.n_threads, params.warmup = str(path), 256, 2, False
    server = xllamacpp.Server(params)
    asked = dict(n_predict=NEW_TOKENS, temperature=0.0, top_k=1, ignore_eos=True, n_probs=1, logprobs=1)
    found = [server.handle_completions(asked | dict(prompt=prompt)) for prompt in (ids, PROMPT)]
    said = lambda answer: [(token["id"], token["logprob"]) for token in answer["choices"][0]["logprobs"]["content"]]
    return said(found[0]), said(found[1]), found[1]["usage"]["prompt_tokens"]


def check(binary, llama_cpp, case, work):
    make, tokenizer = CASES[case]
    shutil.rmtree(work, ignore_errors=True)
    tokenizer = tokenizer(llama_cpp)
    whole = scramble(make(len(tokenizer) + 8), std=0.2)
    whole.save_pretrained(work / "hf")
    tokenizer.save_pretrained(work / "hf")
    need(binary, "export", "--model", work / "hf", "--decoder", "--out", work / "decoder")
    ids = torch.tensor([tokenizer(PROMPT, add_special_tokens=False).input_ids])
    expected = logits(whole, ids)
    decoder = transformers.AutoModelForCausalLM.from_pretrained(work / "decoder", dtype=torch.float32)
    alone = apart(logits(decoder, ids), expected)
    path = work / "decoder.gguf"
    done = run(sys.executable, llama_cpp / "convert_hf_to_gguf.py", work / "decoder", "--outtype", "f32", "--outfile", path)
    row = f"{type(decoder).__name__}, decoder {alone:.1e}"
    if done.returncode != 0:
        refused = done.stderr.strip().splitlines()[-1]
        return alone <= TOLERANCE and case == TRAINED and UNKNOWN in refused, f"{row}, converter: {refused}"
    again = transformers.AutoModelForCausalLM.from_pretrained(work, gguf_file=path.name, dtype=torch.float32)
    converted = apart(logits(again, ids), expected)
    expected, (of_ids, of_text, split) = greedy(decoder, ids), continued(path, ids[0].tolist())
    tokens = lambda said: [token for token, _ in said]
    equal = tokens(of_ids) == tokens(expected) and tokens(of_text) == tokens(expected) and split == len(ids[0])
    off = max(abs(a - b) for (_, a), (_, b) in zip(of_ids, expected))
    row = f"{row}, GGUF {converted:.1e}; llama.cpp's {NEW_TOKENS} tokens equal {equal}, log-probabilities within {off:.1e}"
    return max(alone, converted) <= TOLERANCE and equal, row


def main():
    binary, llama_cpp, work, *names = sys.argv[1:]
    binary, llama_cpp, work = (pathlib.Path(path).resolve() for path in (binary, llama_cpp, work))
    failed = 0
    for case in names or CASES:
        try:
            good, row = check(binary, llama_cpp, case, work / case.replace(" ", "-").replace(",", "").replace("'", ""))
        except Exception as error:
            good, row = False, f"FAILED: {type(error).__name__}: {str(error)[-1500:]}"
        failed += not good
        print(f"{case:30} {row}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
