"""A tensor cache of striped images, whose class decides the stripes' direction and width."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.stage import publish
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace


def striped(labels: NDArray[np.int32], shape: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """Noisy striped images of these labels.

    Even classes have horizontal stripes and odd classes vertical ones; higher labels have wider stripes.

    Args:
        labels: int32 (N,).
        shape: Height, width and channels.
        seed: Seed of the noise and of the stripes' offsets.

    Returns:
        uint8 (N, H, W, C).
    """
    generator = np.random.default_rng(seed)
    row_indices, column_indices = np.indices(shape[:2])
    images = generator.integers(0, 120, (len(labels), *shape))
    for image, label in zip(images, labels, strict=True):
        position = (column_indices if label % 2 else row_indices) + generator.integers(0, 8)
        image += (position // (1 + label // 2) % 2 * 120)[..., None]
    return images.astype(np.uint8)


def cache(
    workspace: Workspace,
    shape: tuple[int, int, int] = (8, 8, 1),
    train: tuple[int, ...] = (96, 96, 96),
    val: int = 20,
    seed: int = 0,
) -> TensorCache:
    """Publish a tensor cache of striped images.

    Args:
        workspace: Where the cache is written.
        shape: Height, width and channels.
        train: Number of training images of each class.
        val: Number of validation images of each class; test has the same number.
        seed: Seed of the images and of their order.
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

    ingredients = Ingredients("normalize", {}, {"shape": shape, "train": train, "val": val, "seed": seed})
    directory = workspace.root / "tensors" / ingredients.digest
    counts = publish.publish(directory, ingredients, write)["facts"]
    return TensorCache(
        path=workspace.relative(directory),
        digest=ingredients.digest,
        dataset="stripes",
        classes=classes,
        shape=shape,
        quarantined=0,
        **counts,
    )
