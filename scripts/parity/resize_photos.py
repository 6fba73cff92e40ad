#!/usr/bin/env python3
"""Makes the JPEGs of tests/fixtures/photos from the originals that LICENSES.md names.

    python scripts/parity/resize_photos.py DIR

DIR holds the originals under the paths below: the unpacked wheels of scikit-image 0.26.0 and scikit-learn 1.9.1 and
the unpacked Debian package lomiri-wallpapers-16.04. Needs pillow. Each picture is brought to sRGB, scaled to 320
pixels on its longest side and saved without metadata; nothing is cropped or retouched.
"""

import io
import pathlib
import sys

from PIL import Image, ImageCms

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "photos"
LONGEST = 320
SKIMAGE, SKLEARN, LOMIRI = "skimage/data", "sklearn/datasets/images", "usr/share/backgrounds"

ORIGINALS = {
    "astronaut": f"{SKIMAGE}/astronaut.png",
    "autumn_mountain": f"{LOMIRI}/aitzgorri_by_Aitzol_Berasategi.jpg",
    "camera_gray": f"{SKIMAGE}/camera.png",
    "cat": f"{SKIMAGE}/chelsea.png",
    "coffee": f"{SKIMAGE}/coffee.png",
    "dahlia": f"{SKLEARN}/flower.jpg",
    "dandelions": f"{LOMIRI}/seeding_by_Clements_Engelhardt.jpg",
    "dogs": f"{LOMIRI}/friends_by_Aitzol_Berasategi.jpg",
    "drum": f"{LOMIRI}/Wine_by_Jakkub_Mede.jpg",
    "fig": f"{LOMIRI}/Picture_0B_by_freespace.jpg",
    "mountain_path": f"{LOMIRI}/picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "paintbrushes": f"{LOMIRI}/Picture_1A_by_freespace.jpg",
    "pavilion": f"{SKLEARN}/china.jpg",
    "rocket": f"{SKIMAGE}/rocket.jpg",
    "stream": f"{LOMIRI}/life_by_Aitzol_Berasategi.jpg",
    "sunset": f"{LOMIRI}/sunset_by_Aitzol_Berasategi.jpg",
}
# One file of another kind of JPEG than the rest.
PROGRESSIVE = {"fig"}


def to_srgb(image):
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb)


def shrink(path):
    with Image.open(path) as image:
        image = to_srgb(image)
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=None)
        return image if image.mode == "L" else image.convert("RGB")


def main(arguments):
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, original in ORIGINALS.items():
        image = shrink(pathlib.Path(arguments[0]) / original)
        clean = Image.frombytes(image.mode, image.size, image.tobytes())
        clean.save(OUT / f"{name}.jpg", quality=85, optimize=True, progressive=name in PROGRESSIVE)


if __name__ == "__main__":
    main(sys.argv[1:])
