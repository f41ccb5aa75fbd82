"""Maps: the output of a backbone's trunk for each view of each train and val image.

A training that starts from the trunk reads them in every epoch. They are kept in a store of their own, batch
by batch, so that a killed run computes none of them twice. They take 88 kB a photo with EfficientNet-Lite0,
so that they are deleted once the model is published (`discard`).
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.model.features import embed
from tasks.core.model.features.kind import FeatureKind, settings_of
from tasks.core.progress import Progress
from tasks.core.stage.handles import Features, RawDataset, TensorCache
from tasks.core.workspace import Workspace

SPLITS = ("train", "val")


def open_maps(
    features: Features,
    raw: RawDataset | None,
    tensors: TensorCache,
    folder: Path,
    workspace: Workspace,
    progress: Progress,
) -> dict[str, NDArray[np.float16]]:
    """The maps of the train and val images, float16 (N, views, h, w, C) each, memory-mapped.

    Args:
        features: Features of the same backbone.
        raw: The source of the images.
        tensors: The images.
        folder: Where the arrays are written.
        workspace: Where the store lies.
        progress: Called with images done.

    Raises:
        DataError: The source is not known, or an image can no longer be read.
    """
    if raw is None:
        raise DataError("the source of the images is not known", expected="the output of download")
    kind = kind_of(features, tensors)
    embed.fill_store(kind, raw, tensors, SPLITS, workspace, progress)
    store, shape = embed.open_store(kind, workspace), embed.extractor(kind).shape
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        embed.assemble(store, tensors, split, shape, folder / f"{split}.maps.npy", kind.dtype)
    return {
        split: np.load(folder / f"{split}.maps.npy", mmap_mode="r", allow_pickle=False) for split in SPLITS
    }


def discard(features: Features, tensors: TensorCache, workspace: Workspace) -> None:
    """Delete the store of the maps."""
    shutil.rmtree(embed.open_store(kind_of(features, tensors), workspace).folder, ignore_errors=True)


def kind_of(features: Features, tensors: TensorCache) -> FeatureKind:
    """The kind of the maps that belong to features."""
    kind = FeatureKind.of(settings_of(features), tensors)
    return replace(kind, layer=kind.declaration.trunk)
