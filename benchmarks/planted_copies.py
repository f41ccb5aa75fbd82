"""Copies of photos, changed in ways that occur, which are planted among them to be found again."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def recompressed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=int(generator.integers(30, 60)))
    return Image.open(content).convert("RGB")


def shifted(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """By a sixteenth of each side; what leaves the picture is lost, so that the copy is smaller."""
    width, height = image.size
    across, down = (round(side / 16) for side in image.size)
    left, top = (int(step * generator.integers(0, 2)) for step in (across, down))
    return image.crop((left, top, left + width - across, top + height - down))


def mirrored(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(image)


def cropped(image: Image.Image, generator: np.random.Generator, share: float = 0.8) -> Image.Image:
    width, height = (int(side * share) for side in image.size)
    left, top = (
        int(generator.integers(0, side - kept + 1))
        for side, kept in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))


def rotated(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.rotate(float(5 * generator.choice([-1, 1])), Image.Resampling.BICUBIC)


def captioned(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    copy = image.copy()
    draw, strip = ImageDraw.Draw(copy), 0.14 * image.height
    top = 0.0 if generator.random() < 0.5 else image.height - strip
    draw.rectangle((0, top, image.width, top + strip), fill=(0, 0, 0))
    font = ImageFont.load_default(size=0.6 * strip)
    draw.text((0.05 * image.width, top + 0.15 * strip), "What a day it was", (255, 255, 255), font)
    return copy


def next_frame(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    closer = np.asarray(cropped(image, generator, generator.uniform(0.93, 0.98)), np.float32)
    noisy = closer * generator.uniform(0.92, 1.08) + generator.normal(0, 5, closer.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


KINDS: dict[str, Change] = {
    "recompressed": recompressed,
    "shifted": shifted,
    "mirrored": mirrored,
    "cropped to 80 %": cropped,
    "rotated by 5 degrees": rotated,
    "with a caption": captioned,
    "next frame of a burst": next_frame,
}


def plant(photos: Path, folder: Path, copies: int, foreign: list[Path]) -> dict[str, dict[str, str]]:
    """Write a folder of photos with copies; by kind, the path of each copy's photo by the copy's path."""
    shutil.copytree(photos, folder)
    paths = sorted(path for path in folder.glob("*/*") if path.is_file())
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(paths))[: copies * len(KINDS)].reshape(len(KINDS), -1)
    planted: dict[str, dict[str, str]] = {}
    for (kind, change), numbers in zip(KINDS.items(), chosen, strict=True):
        for number in numbers:
            photo = paths[number]
            copy = photo.with_name(f"copy-{kind.split()[0]}-{photo.stem}.jpg")
            change(Image.open(photo).convert("RGB"), generator).save(copy, quality=88)
            original = photo.relative_to(folder).as_posix()
            planted.setdefault(kind, {})[copy.relative_to(folder).as_posix()] = original
    classes = sorted({path.parent for path in paths})
    for number, path in enumerate(foreign):
        shutil.copy(path, classes[number % len(classes)] / f"foreign-{path.parent.name}-{path.name}")
    return planted
