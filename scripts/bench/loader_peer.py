"""The peer's side of scripts/bench/loader.sh: the same shard read by torch's DataLoader, torchvision and the tokenizers package.

    python scripts/bench/loader_peer.py make DIR SAMPLES     # a shard of JPEG files of SIZE (default 640x480) with conversations
    python scripts/bench/loader_peer.py load DIR TOKENIZER   # prints samples a second

Two worker processes unless WORKERS says otherwise, each with one thread.
"""

import io
import json
import os
import random
import sys
import tarfile
import time
from pathlib import Path

import torch
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as f

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SIDE, BATCH = 336, 16
WIDTH, HEIGHT = (int(side) for side in os.environ.get("SIZE", "640x480").split("x"))
WORDS = "a the red green small large picture shows stands behind near under table house river with and two three people dog light".split()


def scene(number):
    """Slow waves of each colour with some noise, as the row `pictures` has them; about 130 KB as a file of 640 x 480."""
    y, x, channel = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), torch.arange(3), indexing="ij")
    noise = (((y * WIDTH + x) * 3 + channel) * 2654435761 % 2**32 >> 27) - 16
    wave = torch.sin(x / (40 + 9 * channel) + number) + torch.cos(y / (60 - 7 * channel))
    return (128 + 45 * wave + noise).to(torch.uint8).permute(2, 0, 1).contiguous()


def make(directory, samples):
    Path(directory).mkdir(parents=True)
    words = random.Random(7)
    with tarfile.open(Path(directory) / "train-000000.tar", "w") as shard:
        for number in range(samples):
            caption = " ".join(words.choice(WORDS) for _ in range(60)).encode()
            for name, content in [("jpg", encode_jpeg(scene(number), quality=90).numpy().tobytes()), ("txt", caption)]:
                member = tarfile.TarInfo(f"{number:06d}.{name}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


class Shard(torch.utils.data.Dataset):
    """Samples of a tar file by number, read where they lie."""

    def __init__(self, path, tokenizer):
        from tokenizers import Tokenizer

        self.path, self.tokenizer, self.file = path, Tokenizer.from_file(tokenizer), None
        with tarfile.open(path) as shard:
            places = [(member.offset_data, member.size) for member in shard]
        self.places = list(zip(places[::2], places[1::2]))

    def __len__(self):
        return len(self.places)

    def read(self, offset, size):
        self.file = self.file or open(self.path, "rb")
        self.file.seek(offset)
        return self.file.read(size)

    def __getitem__(self, number):
        picture, caption = (self.read(*place) for place in self.places[number])
        picture = decode_jpeg(torch.frombuffer(bytearray(picture), dtype=torch.uint8), ImageReadMode.RGB)
        picture = f.resize(picture, [SIDE], interpolation=InterpolationMode.BICUBIC, antialias=True)
        picture = f.normalize(f.to_dtype(f.center_crop(picture, [SIDE, SIDE]), torch.float32, scale=True), MEAN, STD)
        return picture, self.tokenizer.encode(caption.decode()).ids


def collate(samples):
    pictures, texts = zip(*samples)
    longest = max(map(len, texts))
    return torch.stack(pictures), torch.tensor([text + [0] * (longest - len(text)) for text in texts])


def load(directory, tokenizer):
    torch.set_num_threads(1)
    shard = Shard(Path(directory) / "train-000000.tar", tokenizer)
    workers = int(os.environ.get("WORKERS", "2"))
    loader = torch.utils.data.DataLoader(shard, BATCH, shuffle=True, collate_fn=collate, num_workers=workers, persistent_workers=True)
    # The first pass starts the workers.
    for _ in range(2):
        start, seen = time.perf_counter(), 0
        for pictures, _ids in loader:
            seen += len(pictures)
        rate = seen / (time.perf_counter() - start)
    print(json.dumps({"samples_per_second": rate}))


if __name__ == "__main__":
    {"make": lambda d, n: make(d, int(n)), "load": load}[sys.argv[1]](*sys.argv[2:])
