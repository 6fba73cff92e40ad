"""Write a small shard with Python's `webdataset`, and what its own reader finds in it.

    pip install webdataset==1.0.2 pillow numpy blake3
    python scripts/parity/make_webdataset_fixture.py [tests/fixtures/webdataset]

The shard has what real ones have: captions with blanks and characters beyond ASCII, a grey JPEG, PNG bytes
named `.jpg`, a name longer than 100 characters (a PAX header), a sample without caption, an extension with
two dots, and a key that comes twice. The pictures are gradients made here, so there is nothing to license.
"""

import io
import json
import pathlib
import sys

import blake3
import numpy
import PIL.Image
import webdataset

SHARD = "python-webdataset-000000.tar"


def picture(width, height, shade):
    """A colour gradient."""
    x = numpy.linspace(0, 255, width)[None, :, None].repeat(height, 0)
    y = numpy.linspace(0, 255, height)[:, None, None].repeat(width, 1)
    z = numpy.full((height, width, 1), shade)
    return PIL.Image.fromarray(numpy.concatenate([x, y, z], 2).astype("uint8"))


def encoded(image, kind):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def samples():
    image = picture(48, 32, 80)
    yield {"__key__": "000000000", "jpg": image, "txt": "a red boat on the lake .\n", "json": {"width": 48, "height": 32}}
    yield {"__key__": "000000003", "jpg": picture(32, 48, 200), "txt": "  ein grüner Hügel — 丘 \n"}
    yield {"__key__": "000000004", "jpg": encoded(image.convert("L"), "JPEG"), "txt": "a grey picture"}
    yield {"__key__": "000000005", "jpg": encoded(image, "PNG"), "txt": "png bytes named jpg"}
    yield {"__key__": "a.dir/" + "long" * 30 + "/000000006", "png": image, "txt": "a long name"}
    yield {"__key__": "000000007", "jpg": image, "json": {"caption": None}}
    yield {"__key__": "000000008", "jpg": image, "seg.png": picture(4, 4, 0), "txt": "with a mask"}
    yield {"__key__": "000000000", "jpg": picture(8, 8, 1), "txt": "the first key once more"}


def write(path):
    with webdataset.TarWriter(str(path), mtime=0) as sink:
        for sample in samples():
            sink.write(sample)


def read(path):
    """One line per sample, as webdataset's reader groups it: key, and blake3 of each member."""
    for sample in webdataset.WebDataset(str(path), shardshuffle=False):
        members = {ext: blake3.blake3(data).hexdigest() for ext, data in sample.items() if not ext.startswith("__")}
        yield {"key": sample["__key__"], "members": members}


def meta():
    versions = f"webdataset {webdataset.__version__}, pillow {PIL.__version__}, python {sys.version.split()[0]}"
    return f"""# Written by scripts/parity/make_webdataset_fixture.py.
about = "A shard written by Python's webdataset, and the samples that its reader finds"
reference = "{versions}"
export = "python scripts/parity/make_webdataset_fixture.py tests/fixtures/webdataset"
license = "the pictures are gradients computed by the script; nothing to license"
"""


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/webdataset")
    out.mkdir(parents=True, exist_ok=True)
    write(out / SHARD)
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in read(out / SHARD)]
    (out / "expected.jsonl").write_text("".join(lines), encoding="utf-8")
    (out / "META.toml").write_text(meta(), encoding="utf-8")


if __name__ == "__main__":
    main()
