#!/usr/bin/env python3
"""Makes `fuzz/corpus`: small whole inputs for every fuzzer, most of them copies of the tests' fixtures.

    fuzz/make_corpus.py        # from anywhere; needs nothing but Python

What fuzzers find beyond it is not kept here, but for inputs that did harm (`fuzz/regressions`).
"""

import base64
import io
import json
import shutil
import struct
import tarfile
import tomllib
import zipfile
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent
FIXTURES = ROOT / "tests/fixtures"
CORPUS = FUZZ / "corpus"

# Larger fixtures make slow inputs and say no more.
MOST_BYTES = 13_000


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(content)


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def put_json(target, name, value):
    put(target, f"{name}.json", json.dumps(value))


def copy(target, pattern, most=MOST_BYTES):
    for path in sorted(FIXTURES.glob(pattern)):
        if path.is_file() and 0 < path.stat().st_size <= most:
            put(target, "-".join(path.relative_to(FIXTURES).parts[1:]), path.read_bytes())


def tensors(entries, header_of=lambda header: header):
    """A safetensors file of `(name, dtype, shape, bytes)`."""
    header, data = {}, b""
    for name, dtype, shape, values in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    header = json.dumps(header_of(header), separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + data


def read_tensors(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def wav():
    head = b"RIFF\x44\x03\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x20\x03\0\0"
    return head + bytes(i * i * 7 % 251 for i in range(800))


def media():
    copy("image_decode", "media/decode/*.*")
    (CORPUS / "image_decode/decode-META.toml").unlink()
    for sound in ("no_xing.mp3", "opus.ogg", "surround.flac", "tones.mp3", "tones.ogg", "stereo.flac"):
        copy("audio_decode", f"media/sound/{sound}")
    put("audio_decode", "tone.wav", wav())
    # Shapes on which decoders have looped.
    put("audio_decode", "id3-of-33-bytes", b"ID3\x04\0\0\0\0\0\x17" + bytes(23))
    put("audio_decode", "xing-of-38-bytes", b"\xff\xfb\x90\0" + bytes(26) + b"Xing" + bytes(4))
    moving = {
        "codec_type": "video", "width": 64, "height": 48, "avg_frame_rate": "30000/1001", "r_frame_rate": "30000/1001",
        "duration": "2.002", "nb_frames": "60", "disposition": {"attached_pic": 0}, "side_data_list": [{"rotation": -90}],
    }
    heard = {"codec_type": "audio", "sample_rate": "44100", "channels": 2}
    cover = {"codec_type": "video", "width": 600, "height": 600, "disposition": {"attached_pic": 1}}
    put_json("ffprobe_json", "both", {"streams": [moving, heard], "format": {"duration": "2.002"}})
    counted = {"codec_type": "video", "avg_frame_rate": "0/0", "nb_read_frames": "12", "tags": {"rotate": "90"}}
    put_json("ffprobe_json", "counted", {"streams": [cover, counted], "format": {}})
    for family in ("square", "anyres", "idefics3", "mllama", "qwen2_vl", "audio"):
        cases = json.loads((FIXTURES / f"media/{family}/cases.json").read_text())
        for case in (case for case in cases if "config" in case):
            put_json("preprocessor_config_json", f"{family}-{case['name']}", case["config"])
    put_json(
        "preprocessor_config_json",
        "video-beside",
        {
            "image_processor": {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "min_pixels": 256},
            "video_processor": {"max_pixels": 4096},
        },
    )


def texts():
    copy("tokenizer_json_load", "text/tokenizers/*.json", 20_000)
    added = {"id": 0, "content": "<unk>", "special": True, "single_word": False, "lstrip": False, "rstrip": False}
    word_level = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added | {"normalized": False}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<unk>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<unk>": {"id": "<unk>", "ids": [0], "tokens": ["<unk>"]}},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "cat": 2}, "unk_token": "<unk>"},
    }
    put_json("tokenizer_json_load", "word_level", word_level)
    piece = {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    put_json("tokenizer_json_load", "word_piece", word_level | {"model": piece | {"vocab": {"<unk>": 0, "a": 1, "##b": 2}}})
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["▁a", -2.5]], "byte_fallback": False}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    put_json("tokenizer_json_load", "unigram", word_level | {"model": unigram, "pre_tokenizer": metaspace, "decoder": metaspace})
    split = {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)"}, "behavior": "Isolated", "invert": False}
    bpe = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": {"a": 0, "b": 1, "ab": 2},
        "merges": [["a", "b"]],
    }
    put_json("tokenizer_json_load", "bpe", word_level | {"model": bpe, "pre_tokenizer": split, "post_processor": None})
    for name, text in {
        "words": "a red circle above a small blue square . two dogs",
        "special": "</s><image><|im_start|>user\n<s>[INST]",
        "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u202eabc e\u0301 \ufb01 \u0130 犬 한국어 \x00\x1b[31m",
        "blanks": " \t\n\r\u00a0\u3000  \n\n\n",
        "signs": "^^^^---===```~~~!!!???...,,,;;;:::'''\"\"\"(((",
        "digits": "1234567890 3.14159 1e308 0x7f",
    }.items():
        put("tokenize_text", name, text)
    copy("chat_template_render", "text/templates/*.jinja")
    answers = [
        "<ref>two dogs</ref><box>(221,423),(569,886)</box><quad>(5,1),(9,5),(5,9),(1,5)</quad>",
        "<|object_ref_start|>犬<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|><|im_end|>",
        '```json\n[\n\t{"bbox_2d": [10, 20, 300, 400], "label": "a \\"big\\" dog"},\n\t{"bbox_2d": [[1, 2, 3, 4]]}\n]\n```',
        "The dog: [0.12, 0.30, 0.55, 0.91] and the cat: [0.5, 0.5, 0.6, 0.7].",
        "a dog(1,2),(3,4)(5,6),(7,8)\n- cat (9, 8), (7, 6)",
        "Yes, there's a dog; it isn't 3.50 m tall, it's one.",
    ]
    for number, answer in enumerate(answers):
        put("grounding_box_parser", f"answer-{number}", answer)


def rows():
    for pattern in ("data/*/*.json", "data/*/*.jsonl", "data/*/*/*.json", "data/*/*/*.jsonl"):
        copy("rows_json", pattern)
    for pattern in ("data/*/*.csv", "data/*/*.tsv"):
        copy("rows_csv", pattern)
    put("rows_csv", "quoted.csv", 'file_name,text\r\n"a.jpg","one ""word""\r\nand more"\r\na.jpg,two\r\n')
    for pattern in ("data/*/*.parquet", "data/*/data/*.parquet"):
        copy("parquet_file", pattern, 8_000)
    copy("arrow_file", "data/*/*/*.arrow")


def archives():
    picture = (FIXTURES / "data/ms_swift/d/1.jpg").read_bytes()
    samples = [("000000000.jpg", picture), ("000000000.txt", b"a dog"), ("000000000.json", b'{"a": 1}')]
    samples += [("d/000000001.png", picture), ("d/000000001.txt", "ein Hund ü".encode())]
    for kind, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            for name, content in samples + [(f"{'d' * (90 if kind == 'ustar' else 150)}/a.txt", b"long")]:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            for number, link in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)):
                entry = tarfile.TarInfo(f"link-{number}.jpg")
                entry.type, entry.linkname = link, "../../etc/passwd"
                tar.addfile(entry)
        # Without most of the zeros at the end.
        put("tar_stream", f"{kind}.tar", out.getvalue().rstrip(b"\0") + bytes(1536))
    copy("zip_stream", "data/*/*.zip", 3_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in ("a.jpg", "d/b.jpg", "../a.txt", "/etc/passwd"):
            made.writestr(zipfile.ZipInfo(name), picture, zipfile.ZIP_DEFLATED)
    put("zip_stream", "outside.zip", out.getvalue())
    lines = ["in/1.jpg", "near/1.jpg", "link/secret.jpg", "link.jpg", "../outside/secret.jpg", "in/../../outside/secret.jpg"]
    lines += ["ROOT/in/1.jpg", "ROOT-sibling/1.jpg", "ROOT/../outside/secret.jpg", "/etc/passwd", "file://ROOT/in/1.png"]
    put("path_resolver", "names", "\n".join(lines))
    put("path_resolver", "map", "/old/disk\n/old/disk/1.jpg\n/old/disk/../1.jpg\n./in//1\ndata:image/png;base64,iVBORw0KGgo=")


def models():
    four = struct.pack("<4f", 1.0, -2.0, 0.5, 0.0)
    metadata = lambda header: {"__metadata__": {"format": "pt"}} | header
    put("safetensors_file", "one", tensors([("a", "F32", [2, 2], four)], metadata))
    kinds = [("a", "F32", [2, 2], four), ("b", "BF16", [3], bytes(6)), ("c", "F16", [], bytes(2)), ("d", "F64", [1], bytes(8))]
    kinds += [("e", "I64", [1], bytes(8)), ("f", "U8", [0, 7], b""), ("g", "I32", [2], bytes(8)), ("h", "BOOL", [1], b"\1")]
    put("safetensors_file", "kinds", tensors(kinds))
    put("safetensors_file", "empty", tensors([]))
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    put_json("safetensors_index", "two", {"metadata": {"total_size": 16}, "weight_map": {"a": one, "b": two}})
    put_json("safetensors_index", "outside", {"weight_map": {"a": one, "c": "../outside.safetensors"}})
    for file in ("packed", "bitsandbytes"):
        layers = {}
        for name, (dtype, shape, values) in read_tensors(FIXTURES / f"quantized/{file}.safetensors").items():
            stem, _, end = name.partition(".")
            if end != "dense":
                layers.setdefault(stem, []).append((f"model.x.{end}", dtype, shape, values))
        for stem, entries in layers.items():
            put("packed_weights", stem, tensors(entries))
    for name, value in {"ramp": range(1024), "large": (1e30, -1e30, 1e-30, 0.0), "odd": (float("nan"), float("inf"), 1.0)}.items():
        values = b"".join(struct.pack("<f", number) for number in value)
        put("quant_blocks", name, bytes([len(values) % 251]) + values)
    for path in sorted(FIXTURES.glob("parity/*/config.json")):
        put("model_config_json", f"{path.parent.name}.json", json.dumps(json.loads(path.read_text())))
    own = own_config()
    put_json("model_config_json", "mmtrain_vlm", own)
    perceiver = {"num_latents": 4, "hidden_size": 8, "intermediate_size": 16, "depth": 1, "num_attention_heads": 2, "head_dim": 4}
    cross = {"kind": "cross_attention", "before_blocks": [0, 1], "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4}
    cross |= {"num_key_value_heads": 1, "intermediate_size": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5}
    cross |= {"resampler": perceiver, "unseen": "zeroed"}
    put_json("model_config_json", "mmtrain_perceiver", own | {"mmtrain_connector": {"kind": "perceiver"} | perceiver})
    put_json("model_config_json", "mmtrain_cross_attention", own | {"mmtrain_connector": cross})
    audio = {"kind": "audio", "family": "whisper", "num_mel_bins": 8, "hidden_size": 8, "intermediate_size": 16}
    audio |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_source_positions": 10, "hidden_act": "gelu"}
    put_json("model_config_json", "mmtrain_audio", own | {"mmtrain_encoder": audio})
    qwen = {"kind": "qwen_vl", "family": "qwen2", "hidden_size": 8, "out_hidden_size": 8, "intermediate_size": 16}
    qwen |= {"num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4, "temporal_patch_size": 2}
    qwen |= {"spatial_merge_size": 2, "rope_theta": 10000.0, "hidden_act": "quick_gelu"}
    put_json("model_config_json", "mmtrain_qwen_vl", own | {"mmtrain_encoder": qwen, "mmtrain_connector": {"kind": "merger"}})
    for path in sorted(FIXTURES.glob("parity_lora/*/adapter_config.json")):
        put("adapter_config_json", f"{path.parent.name}.json", path.read_bytes())


def own_config():
    tower = {"family": "siglip", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower |= {"image_size": 16, "patch_size": 8, "layer_norm_eps": 1e-6, "hidden_act": "gelu_tanh"}
    return {
        "model_type": "mmtrain_vlm",
        "mmtrain_encoder": {"kind": "vit", "vision": tower, "feature_layer": -1, "feature_select": "full", "normed": False},
        "mmtrain_connector": {"kind": "mlp", "depth": 2, "pixel_shuffle": 1, "act": "gelu", "bias": True},
        "text_config": {
            "model_type": "llama",
            "vocab_size": 32,
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        "image_token_id": 5,
    }


def runs():
    names = ("model.safetensors", "optim.safetensors", "state.json")
    # Of nothing, which is what the fuzzer's files hold.
    nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    files = [{"name": name, "bytes": 0, "blake3": nothing} for name in names]
    manifest = {"format_version": 1, "step": 3, "mmtrain": "0.1.0", "files": files}
    put_json("manifest_json", "good", manifest)
    outside = {"name": "../../outside.txt", "bytes": 17, "blake3": "0" * 64}
    put_json("manifest_json", "outside", manifest | {"files": files + [outside]})
    part = {"part": "encoder", "weights": "/models/siglip", "hash": "0" * 64}
    state = {
        "step": 3,
        "cursor": {"epoch": 1, "position": 17, "rows": 0},
        "samples": 96,
        "supervised_tokens": 1234,
        "data": [{"name": "cc3m", "samples": 100, "fingerprint": "ab12"}],
        "keep": {"encoder": 0, "decoder": 2},
        "frozen": [part],
    }
    put_json("train_state_json", "plain", state)
    lora = {"rank": 8, "alpha": 16.0, "dropout": 0.0, "targets": None, "use_rslora": False, "use_dora": False}
    more = {"best": {"step": 2, "value": 0.5, "stale": 1}, "frozen": [part | {"lora": lora, "continued": True}]}
    put_json("train_state_json", "adapters", state | more)
    times = {"tokens_per_sec": 9.5, "samples_per_sec": 2.0, "data_wait": 0.0, "step_secs": 0.5, "mem_bytes": 1024, "skipped": 1}
    step = {"kind": "train", "epoch": 0.5, "loss": 2.5, "lr": {"connector": 0.001}, "grad_norm": 1.0}
    step |= {"supervised_tokens": 9, "samples": 2} | times
    held_out = {"kind": "eval", "name": "held_out", "values": {"loss": 2.0, "attribute_accuracy": 0.5}}
    fault = {"kind": "fault", "what": "loss", "value": "NaN", "remedy": "rewind", "passed_over": 1, "rewinds": 1}
    log = [step | {"step": 2}, step | {"step": 3, "padding": 0.25}, held_out | {"step": 3}, fault | {"step": 4}]
    put("run_ledgers", "metrics.jsonl", lines(log))
    skip = {"reason": "decode_failed", "source": "cc3m", "key": "shard-0.tar/7", "index": 7, "step": 1}
    put("run_ledgers", "quarantine.jsonl", lines([skip, skip | {"reason": "too_slow", "index": 8}]))
    put("run_ledgers", "latest", "step-00000003\n")
    put_json("run_ledgers", "bad_batch", {"step": 5, "what": "loss", "value": "NaN", "samples": [skip]})
    # Keys, log-probabilities and sums of two pairs, as mmtrain-train/src/preference/reference.rs writes them.
    head = b"mmrefer\x01" + bytes([7]) * 32
    pairs = [
        "09" * 32 + "000000000000f8bf00000000000002c061115cd23b04257e",
        bytes(range(32)).hex() + "00000000000024c0000000000000c0bfc5f7dbd03d0a79a9",
    ]
    for name, count in (("empty", 0), ("one", 1), ("two", 2)):
        put("reference_bin", name, head + bytes.fromhex("".join(pairs[:count])))
    put("reference_bin", "torn", head + bytes.fromhex("".join(pairs))[:-3])
    for name in ("quickstart", "quickstart-audio", "quickstart-dpo", "cc3m", "qwen2-vl-sft-lora", "blip2-stage2"):
        text = (ROOT / f"configs/{name}.toml").read_text()
        tomllib.loads(text)
        put("config_toml", f"{name}.toml", text)


def requests():
    picture = base64.b64encode((FIXTURES / "media/decode/gray.png").read_bytes()).decode()
    shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}, {"type": "text", "text": "q"}]
    put_json("chat_request_json", "words", {"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    request = {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": shown}],
        "max_tokens": 8,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "seed": -1,
        "stop": ["x", "\n"],
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [],
        "response_format": {"type": "text"},
    }
    put_json("chat_request_json", "picture", request)
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()[:80]).decode(), "format": "wav"}}
    clip = {"type": "video", "video": ["a.jpg", "file:///b%20c.jpg"], "fps": 1.0, "max_pixels": 9, "nframes": 2}
    put_json("chat_request_json", "others", {"model": "m", "messages": [{"role": "user", "content": [sound, clip]}]})


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    for part in (media, texts, rows, archives, models, runs, requests):
        part()
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes")


if __name__ == "__main__":
    main()
