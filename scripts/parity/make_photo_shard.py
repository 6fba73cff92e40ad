#!/usr/bin/env python3
"""Packs tests/fixtures/photos into a WebDataset shard as CC3M has it.

    python scripts/parity/make_photo_shard.py

Writes `photos-validation-0000.tar` beside the pictures: per picture the members KEY.jpg, KEY.json and KEY.txt with a
nine-digit key, in plain USTAR. The JPEGs go in as they are; captions come from `captions.json`. Needs pillow, which
reads the sizes. The same files give the same bytes.
"""

import io
import json
import pathlib
import tarfile

from PIL import Image

PHOTOS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "photos"
SHARD = PHOTOS / "photos-validation-0000.tar"


def describe(key, path, about):
    """The fields that img2dataset writes."""
    with Image.open(path) as image:
        width, height = image.size
    original_width, original_height = about["original"]
    fields = {
        "caption": about["caption"], "url": about["url"], "key": key, "status": "success", "error_message": None,
        "width": width, "height": height, "exif": "{}",
        "original_width": original_width, "original_height": original_height,
    }
    return json.dumps(fields, indent=4)


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o444
    member.uname = member.gname = "bigdata"
    tar.addfile(member, io.BytesIO(content))


def main():
    captions = json.loads((PHOTOS / "captions.json").read_text())
    pictures = sorted(PHOTOS.glob("*.jpg"))
    if [p.stem for p in pictures] != sorted(captions):
        raise SystemExit(f"captions.json and the pictures differ: {sorted({p.stem for p in pictures} ^ set(captions))}")
    with tarfile.open(SHARD, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, path in enumerate(pictures):
            key, about = f"{number:09}", captions[path.stem]
            add(tar, f"{key}.jpg", path.read_bytes())
            add(tar, f"{key}.json", describe(key, path, about).encode())
            add(tar, f"{key}.txt", about["caption"].encode())
    print(f"{SHARD.name}: {len(pictures)} pictures, {SHARD.stat().st_size} bytes")


if __name__ == "__main__":
    main()
