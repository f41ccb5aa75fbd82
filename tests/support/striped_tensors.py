"""Striped pictures whose class shows in the stripes' direction and width, as the tensor cache has them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.stage import publish
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace


def striped(labels: NDArray[np.int32], shape: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """uint8 (N, H, W, C): even classes have horizontal stripes, odd ones vertical; later ones are wider."""
    generator = np.random.default_rng(seed)
    down, across = np.indices(shape[:2])
    images = generator.integers(0, 120, (len(labels), *shape))
    for image, label in zip(images, labels, strict=True):
        place = (across if label % 2 else down) + generator.integers(0, 8)
        image += (place // (1 + label // 2) % 2 * 120)[..., None]
    return images.astype(np.uint8)


def cache(
    workspace: Workspace,
    shape: tuple[int, int, int] = (8, 8, 1),
    train: tuple[int, ...] = (96, 96, 96),
    val: int = 20,
    seed: int = 0,
) -> TensorCache:
    """A tensor cache of striped pictures.

    Args:
        train: Training images of each class.
        val: Validation images of each class; test has as many.
    """
    classes = tuple(f"class {number}" for number in range(len(train)))

    def write(staging: Path) -> dict[str, int]:
        sizes = {"train": train, "val": (val,) * len(train), "test": (val,) * len(train)}
        for number, (split, counts) in enumerate(sizes.items()):
            labels = np.repeat(np.arange(len(train), dtype=np.int32), counts)
            labels = np.random.default_rng([seed, number]).permutation(labels)
            np.save(staging / f"{split}.labels.npy", labels)
            np.save(staging / f"{split}.images.npy", striped(labels, shape, seed + number))
        return {split: sum(counts) for split, counts in sizes.items()}

    made_of = Ingredients("normalize", {}, {"shape": shape, "train": train, "val": val, "seed": seed})
    directory = workspace.root / "tensors" / made_of.digest
    counts = publish.publish(directory, made_of, write)["facts"]
    return TensorCache(
        path=workspace.relative(directory),
        digest=made_of.digest,
        dataset="stripes",
        classes=classes,
        shape=shape,
        quarantined=0,
        **counts,
    )
