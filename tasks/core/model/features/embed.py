"""The embed stage: features of all images by a pretrained backbone. It can be imported without TensorFlow.

The output has `{train,val,test}.features.npy`, float16 (N, views, D), in the row order of the tensors. The
images are decoded straight into the backbone. What an earlier run computed for an image of the same content
is read from the store (`feature_store`), so that a folder that grows pays for the new images only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import EmbedSettings
from tasks.core.data import threads
from tasks.core.data.decode import Target
from tasks.core.data.loader import originals
from tasks.core.data.readers import factory
from tasks.core.data.readers.base import DecodeFailure, Reader
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.errors import DataError
from tasks.core.model.devices import runtime
from tasks.core.model.features.feature_store import FeatureStore
from tasks.core.model.features.kind import FeatureKind
from tasks.core.progress import Progress, ProgressMeter, ignore_progress
from tasks.core.stage.handles import Features, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EMBED
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

DECODED_AHEAD = 2  # batches that wait for the backbone
PORTION = 256  # images of a portion that a worker computes: a few seconds


@dataclass(frozen=True)
class EmbedPortion:
    """Images whose features a worker computes.

    The file `path` in the workspace has their numbers in the source, int64 (n,), ascending.

    Args:
        raw: The source.
        path: The file, relative to the workspace.
        kind: What to compute.
    """

    raw: RawDataset
    path: str
    kind: FeatureKind


# Calls `compute_portion` in workers; yields portions once their features are in the store.
Work = Callable[[Sequence[EmbedPortion]], Iterator[EmbedPortion]]


def ingredients(raw: RawDataset, tensors: TensorCache, settings: EmbedSettings) -> Ingredients:
    """Everything that decides the features: the images, the backbone with its weights, the image size."""
    kind = FeatureKind.of(settings, tensors)
    modules = (kind.declaration.module, *factory.modules(raw))
    return EMBED.ingredients({"tensors": tensors.digest}, kind.record(), modules, factory.libraries(raw))


def embed(
    raw: RawDataset,
    tensors: TensorCache,
    settings: EmbedSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
    work: Work | None = None,
) -> Features:
    """Compute the features of all images of the tensors, or read them from the store.

    Args:
        raw: The source of the tensors.
        tensors: Which image belongs to which row.
        settings: The backbone, the size of its images, the precision.
        workspace: Where the features are written.
        refresh: Assemble the output again even if it exists; images in the store are not computed again.
        progress: Called with images done.
        work: Has portions computed by workers; on one kind of processor the features are byte-identical.

    Raises:
        UsageError: There is no such backbone, or the images are too small for it.
        DataError: The weights are missing, or an image can no longer be read.
    """
    kind = FeatureKind.of(settings, tensors)

    def build(staging: Path) -> Mapping[str, Any]:
        count = fill_store(kind, raw, tensors, SPLITS, workspace, progress, work)
        store = open_store(kind, workspace)
        store.compact()
        for split in SPLITS:
            shape = (kind.views, kind.declaration.features)
            assemble(store, tensors, split, shape, staging / f"{split}.features.npy", kind.dtype)
        return {
            "backbone": kind.backbone,
            "computed": count,
            "images": tensors.train + tensors.val + tensors.test,
        }

    return EMBED.output(ingredients(raw, tensors, settings), workspace, build, refresh=refresh)


def open_store(kind: FeatureKind, workspace: Workspace) -> FeatureStore:
    """The store of a kind of features, as this process computes them."""
    with runtime.quiet_tensorflow():
        from tasks.core.model.devices import device

    return kind.store(workspace, device.policy(kind.precision), device.kind())


def fill_store(
    kind: FeatureKind,
    raw: RawDataset,
    tensors: TensorCache,
    splits: Sequence[str],
    workspace: Workspace,
    progress: Progress,
    work: Work | None = None,
) -> int:
    """Compute the features that the store does not have yet; returns how many images were computed.

    Args:
        kind: What to compute.
        raw: The source of the tensors.
        tensors: The images.
        splits: Whose images.
        workspace: Where the store lies.
        progress: Called with images done.
        work: Has portions computed by workers.
    """
    store, reader = open_store(kind, workspace), factory.open_raw(raw)
    numbers = _missing_numbers(store, reader, tensors, splits)
    if work and len(numbers) > PORTION:
        _distribute(numbers, raw, kind, work, workspace, progress)
    elif len(numbers):
        compute(numbers, reader, store, extractor(kind), progress)
    return len(numbers)


def assemble(
    store: FeatureStore,
    tensors: TensorCache,
    split: str,
    shape: tuple[int, ...],
    path: Path,
    dtype: np.dtype[Any],
) -> None:
    """Write the features of a split as one array, (N, *shape) of that dtype, in bounded memory."""
    image_ids = read_rows(tensors, ["image_id"], split)["image_id"].combine_chunks()
    out = np.lib.format.open_memmap(path, "w+", dtype, (len(image_ids), *shape))
    try:
        store.read(image_ids, out)
    except KeyError as error:
        raise _foreign_workers(error) from error
    out.flush()


def compute(
    numbers: NDArray[np.int64],
    reader: Reader,
    store: FeatureStore,
    extract: Any,
    progress: Progress = ignore_progress,
) -> None:
    """Compute the features of some images and put them into the store, batch by batch.

    Args:
        numbers: int64 (n,); the source's numbers of the images, ascending.
        reader: The source.
        store: Where they are put.
        extract: An `Extractor`.
        progress: Called with images done.

    Raises:
        DataError: An image can no longer be read.
    """
    image_ids = reader.index().image_id
    meter = ProgressMeter(len(numbers), "photos", progress)
    for batch, images in threads.prefetch(
        _decoded(numbers, reader, extract.kind.target, extract.batch), DECODED_AHEAD
    ):
        store.add(image_ids.take(batch).to_pylist(), extract(images))
        meter.step(len(batch))


@lru_cache(maxsize=2)
def extractor(kind: FeatureKind) -> Any:
    """The `Extractor` of a kind; a process compiles it once."""
    with runtime.quiet_tensorflow():
        from tasks.core.model.features.extractor import Extractor

    return Extractor(kind)


def compute_portion(portion: EmbedPortion, workspace: Workspace) -> None:
    """Compute the features of a portion; the worker needs access to the source and the workspace."""
    numbers = np.load(workspace.root / portion.path, allow_pickle=False)
    store = open_store(portion.kind, workspace)
    compute(numbers, _reader(portion.raw, workspace), store, extractor(portion.kind))


def _missing_numbers(
    store: FeatureStore, reader: Reader, tensors: TensorCache, splits: Sequence[str]
) -> NDArray[np.int64]:
    """The source's numbers of the images without features, ascending, one for each content."""
    index = reader.index()
    numbers = np.concatenate([originals.numbers_of(index, tensors, split) for split in splits])
    image_ids = index.image_id.take(numbers).combine_chunks()
    _, first = np.unique(np.array(image_ids.to_pylist(), object), return_index=True)
    first = first[store.missing(image_ids.take(first))]
    return np.sort(numbers[first])


def _decoded(
    numbers: NDArray[np.int64], reader: Reader, target: Target, size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Batches of images: their numbers, and uint8 (n, H, W, 3)."""
    batch: list[int] = []
    images: list[NDArray[np.uint8]] = []
    for image in reader.images(numbers.tolist(), target):
        if isinstance(image, DecodeFailure):
            raise originals.unreadable(reader, image)
        batch.append(image.row)
        images.append(image.image)
        if len(batch) == size:
            yield np.array(batch), np.stack(images)
            batch, images = [], []
    if batch:
        yield np.array(batch), np.stack(images)


def _distribute(
    numbers: NDArray[np.int64],
    raw: RawDataset,
    kind: FeatureKind,
    work: Work,
    workspace: Workspace,
    progress: Progress,
) -> None:
    folder = EMBED.directory(f"portions.{raw.digest}", workspace)
    with atomic.staging_directory(folder) as staging:
        portions = []
        for number, start in enumerate(range(0, len(numbers), PORTION)):
            path = staging / f"{number:06}.numbers.npy"
            np.save(path, numbers[start : start + PORTION])
            portions.append(EmbedPortion(raw, workspace.relative(path), kind))
        meter = ProgressMeter(len(portions), "portions", progress)
        for _ in work(portions):
            meter.step()


def _foreign_workers(error: KeyError) -> DataError:
    return DataError(
        "the workers' features are not in this workspace",
        expected="workers that share this workspace and have the same kind of processor",
        found=str(error.args[0]),
        done="what they computed is kept",
        todo="run with --runner sequence, or on machines of one kind",
    )


@lru_cache(maxsize=1)
def _reader(raw: RawDataset, workspace: Workspace) -> Reader:
    """A worker opens a source once. Its paths are relative to the active workspace, which is `workspace`."""
    return factory.open_raw(raw)
