"""Record what the reference tools make of conversations: rendered text, token ids, label masks.

    pip install transformers==4.57.6 jinja2 tokenizers
    python scripts/parity/make_text_fixtures.py [tests/fixtures/text]

The tokenizers are trained here on a few sentences, so there is nothing to license. `preprocess_v1`, `preprocess_plain` (LLaVA)
and the pairs of prompt and answer (LLaMA-Factory) are written down again here, because their packages import half of the world;
each function names the one that it repeats.
"""

import json
import pathlib
import sys

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

IGNORE = -100
SPECIAL = [
    "<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<end_of_utterance>",
    "<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<row_1_col_2>",
]
SYSTEM = "You speak of pictures."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
    "answers to the user's questions."
)
WORDS = [
    VICUNA, SYSTEM, "You are a helpful assistant.", "What is it? A cat on a red mat. How many cats are there? Two cats .",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "### Instruction: ### Response: USER: ASSISTANT: [INST] [/INST] Assistant: User: system user assistant",
]


def trained(tokenizer, byte_fallback=False):
    """A BPE of at most 700 tokens."""
    alphabet = pre_tokenizers.ByteLevel.alphabet() if not byte_fallback else []
    bytes_ = [f"<0x{i:02X}>" for i in range(256)] if byte_fallback else []
    special = [AddedToken(t, special=True, normalized=False) for t in SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special + bytes_, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(WORDS * 4, trainer)
    data = json.loads(tokenizer.to_str())
    # Bytes are tokens of the model, not special ones.
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(data))


def byte_level():
    """GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer)


def metaspace():
    """Llama's kind in newer files: a mark for blanks, in front of the first text only."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return trained(tokenizer, byte_fallback=True)


def legacy():
    """Llama's kind in older files: a normalizer puts the mark in front of every text. Here it also composes characters."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    tokenizer = trained(tokenizer, byte_fallback=True)
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence(steps)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


CONVERSATIONS = [
    [("user", False, "What is it?"), ("assistant", False, "A cat.")],
    [("user", True, "What is it?"), ("assistant", False, "A cat on a red mat."), ("user", False, "How many cats?"),
     ("assistant", False, "Two cats .")],
    [("system", False, SYSTEM), ("user", True, "What is it?"), ("assistant", False, "Ein schönes Bild: 猫\n\n- eins\n- zwei")],
]


def messages(conversation, as_list):
    """As `transformers` takes them."""
    def content(image, text):
        if as_list:
            return ([{"type": "image"}] if image else []) + [{"type": "text", "text": text}]
        return ("<image>\n" if image else "") + text
    return [{"role": role, "content": content(image, text)} for role, image, text in conversation]


def chat_templates(root, fast):
    """Text and masks of every template on every conversation that it takes."""
    rows = []
    for file in sorted((root / "templates").glob("*.jinja")):
        source, as_list = file.read_text(), file.stem.split("_training")[0] not in ("llama3", "vicuna", "mistral")
        for number, conversation in enumerate(CONVERSATIONS):
            chat = messages(conversation, as_list)
            row = {"template": file.stem, "conversation": number}
            render = lambda **more: fast.apply_chat_template(chat, chat_template=source, **more)
            row["text"] = render(tokenize=False)
            row["prompt"] = fast.apply_chat_template(chat[:-1], chat_template=source, tokenize=False, add_generation_prompt=True)
            found = render(tokenize=True, return_dict=True, return_assistant_tokens_mask="training" in file.stem)
            row["input_ids"] = found["input_ids"]
            if "training" in file.stem:
                row["mask"] = found["assistant_masks"]
            rows.append(row)
    return rows


ONE_QUESTION = ("plain", "article", "instructblip")


def exported(root, fast):
    """What the chat templates of exports write: those of one question on the first turns, the others on all."""
    rows = []
    for file in sorted((root / "exported").glob("*.jinja")):
        chats = enumerate(messages(conversation, as_list=True) for conversation in CONVERSATIONS)
        if file.stem in ONE_QUESTION:
            chats = [(number, chat[:2]) for number, chat in chats if chat[0]["role"] == "user"]
        for number, chat in chats:
            ids = lambda chat, **more: fast.apply_chat_template(
                chat, chat_template=file.read_text(), tokenize=True, return_dict=True, **more)["input_ids"]
            rows.append({
                "template": file.stem, "conversation": number, "turns": len(chat),
                "input_ids": ids(chat), "prompt_ids": ids(chat[:-1], add_generation_prompt=True),
            })
    return rows


def tokenizer_image_token(text, tokenizer, image):
    """`llava/mm_utils.py`, with the placeholder's id in place of -200."""
    chunks = [tokenizer(chunk).input_ids for chunk in text.split("<image>")]
    ids = list(chunks[0])
    for chunk in chunks[1:]:
        ids += [image] + chunk[1:]
    return ids


def preprocess_v1(conversation, tokenizer, image):
    """`llava/train/train.py` for a legacy tokenizer."""
    text = conversation_text(conversation)
    ids = tokenizer_image_token(text, tokenizer, image)
    labels, cur = list(ids), 1
    labels[:1] = [IGNORE]
    for round_ in text.split("</s>"):
        if round_ == "":
            break
        parts = round_.split(" ASSISTANT: ")
        if len(parts) != 2:
            break
        parts[0] += " ASSISTANT: "
        has_image = "<image>" in text
        length = len(tokenizer_image_token(round_, tokenizer, image) if has_image else tokenizer(round_).input_ids)
        instruction = len(tokenizer_image_token(parts[0], tokenizer, image) if has_image else tokenizer(parts[0]).input_ids) - 2
        labels[cur:cur + instruction] = [IGNORE] * instruction
        cur += length
    labels[cur:] = [IGNORE] * len(labels[cur:])
    if cur < tokenizer.model_max_length and cur != len(ids):
        labels = [IGNORE] * len(labels)
    return {"input_ids": ids, "labels": labels}


def conversation_text(conversation):
    """`conv_vicuna_v1.get_prompt()`."""
    text = VICUNA + " "
    for role, image, said in conversation:
        said = ("<image>\n" if image else "") + said
        text += f"USER: {said} " if role == "user" else f"ASSISTANT: {said}</s>"
    return text


def preprocess_plain(caption, tokenizer, image):
    """`llava/train/train.py`."""
    ids = tokenizer_image_token("<image>" + caption + "\n", tokenizer, image)
    head = len(tokenizer_image_token("<image>", tokenizer, image))
    return {"input_ids": ids, "labels": [IGNORE] * head + ids[head:]}


HOSTILE = [
    [("user", True, "What is it?"), ("assistant", False, "A cat ASSISTANT: no, two cats .")],
    [("user", True, "What is it?"), ("assistant", False, "A cat</s> on a red mat.")],
]


def llava(slow):
    """Both stages; `hostile` are answers with the template's own separators, whose samples LLaVA masks whole."""
    image = slow.convert_tokens_to_ids("<image>")
    good = [dict(conversation=n, **preprocess_v1(CONVERSATIONS[n], slow, image)) for n in (0, 1)]
    hostile = [dict(turns=h, **preprocess_v1(h, slow, image)) for h in HOSTILE]
    return {"v1": good, "hostile": hostile, "plain": dict(caption="A cat .", **preprocess_plain("A cat .", slow, image))}


FACTORY = {
    "chatml": (["<|im_start|>system\n{}<|im_end|>\n"], ["<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"], ["{}<|im_end|>\n"],
               "You are a helpful assistant.", False),
    "vicuna_v1": (["{}"], ["USER: {} ASSISTANT:"], ["{}", "</s>"], VICUNA, True),
    "alpaca": (["{}"], ["### Instruction:\n{}\n\n### Response:\n"], ["{}", "</s>", "\n\n"], WORDS[4] + "\n\n", True),
    "llama3": (["<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>"],
               ["<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"],
               ["{}<|eot_id|>"], "", True),
}


def llama_factory(fast):
    """`Template._encode` and `SupervisedDatasetProcessor._encode_data_example`: a turn is a prompt and what is learned."""
    rows = []
    encode = lambda text: fast(text, add_special_tokens=False).input_ids
    for name, (system, user, assistant, default, bos) in FACTORY.items():
        for number in (0, 2):
            turns = [(role, text) for role, _, text in CONVERSATIONS[number]]
            said = turns.pop(0)[1] if turns[0][0] == "system" else default
            ids, labels = [], []
            for at, (role, text) in enumerate(turns):
                elements = []
                if at == 0:
                    elements += ["<s>"] if bos else []
                    elements += [part.format(said) for part in system] if said else []
                elements += [part.format(text) for part in (user if role == "user" else assistant)]
                new = [token for element in elements for token in encode(element)]
                ids += new
                labels += [IGNORE] * len(new) if role == "user" else new
            rows.append({"template": name, "conversation": number, "input_ids": ids, "labels": labels})
    return rows


def write(file, value):
    """One entry a line."""
    rows = value if isinstance(value, list) else None
    text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]" if rows else json.dumps(value, ensure_ascii=False)
    file.write_text(text + "\n")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/text")
    (root / "tokenizers").mkdir(parents=True, exist_ok=True)
    kinds = {"byte_level": byte_level(), "metaspace": metaspace(), "legacy": legacy()}
    for name, tokenizer in kinds.items():
        (root / "tokenizers" / f"{name}.json").write_text(tokenizer.to_str())
    names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", clean_up_tokenization_spaces=False)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=kinds["byte_level"], **names)
    with_bos = Tokenizer.from_str(kinds["legacy"].to_str())
    from tokenizers.processors import TemplateProcessing
    with_bos.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", with_bos.token_to_id("<s>"))])
    slow = transformers.PreTrainedTokenizerFast(tokenizer_object=with_bos, model_max_length=2048, **names)
    write(root / "conversations.json", [[list(turn) for turn in c] for c in CONVERSATIONS])
    write(root / "chat_templates.json", chat_templates(root, fast))
    first_marked = transformers.PreTrainedTokenizerFast(tokenizer_object=kinds["metaspace"], **names)
    write(root / "exported.json", exported(root, first_marked))
    write(root / "llava.json", llava(slow))
    write(root / "llama_factory.json", llama_factory(fast))


main()
