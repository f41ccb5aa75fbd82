"""Pictures of the data: images of each class, a batch as training saw it, and histograms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.markup import in_pictures
from tasks.core.model.training.batches import augmentation
from tasks.core.reports import plots
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.plots import FAINT, FIRST, SECOND
from tasks.core.reports.thumbnails import mosaic

CLASSES = 20  # that have a mosaic
OF_A_CLASS = 6  # images in its mosaic
BATCH = 16  # images of the batch
NAMED = 30  # classes with a bar and a name of their own
SPLITS = {"train": FIRST, "val": SECOND, "test": FAINT}
Pixels = NDArray[np.uint8]


def data_pictures(inputs: ReportInputs, classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The pictures and their captions.

    Args:
        inputs: The run.
        classes: The per-class metrics of the test images, lowest recall first: label, class_name.
    """
    train = open_split(inputs.tensors, "train")
    batch, caption = _batch(inputs, train.images)
    rows = read_rows(inputs.tensors, ["height", "width"])
    sides = np.maximum(rows["height"].to_numpy(), rows["width"].to_numpy())
    one_size = len(np.unique(sides)) == 1
    return {
        "mosaics": _mosaics(train.images, np.asarray(train.labels), classes[:CLASSES]),
        "classes": len(classes),
        "batch": batch,
        "batch_caption": caption,
        "histograms": [_class_histogram(inputs), *([] if one_size else [_size_histogram(sides)])],
        "one_size": f"All source images are {sides[0]} pixels on their longer side." if one_size else "",
    }


def _mosaics(
    images: Pixels, labels: NDArray[np.integer], classes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The first train images of each class."""
    rows = {row["class_name"]: np.flatnonzero(labels == row["label"])[:OF_A_CLASS] for row in classes}
    return [
        {"name": name, "images": len(found), "picture": mosaic([images[row] for row in found], OF_A_CLASS)}
        for name, found in rows.items()
        if len(found)
    ]


def _batch(inputs: ReportInputs, images: Pixels) -> tuple[str, str]:
    """Train images as the first epoch saw them, and what was done to them."""
    parameters = inputs.trained.manifest["ingredients"].get("parameters", {})
    augment, seed = parameters.get("augment", "none"), int(parameters.get("seed", 0))
    rows = np.arange(min(BATCH, len(images)))
    shown = np.asarray(images[: len(rows)])
    caption = "Train images as the training saw them: without augmentation."
    if augment == "shift":
        shown = augmentation.shift(shown, rows, seed, 0, int(parameters["max_shift"]))
        mirrored = "mirrored in every other epoch and " if shown.shape[-1] == 3 else ""
        caption = f"Train images as the first epoch saw them: {mirrored}shifted by a few pixels."
    elif augment == "view":
        views = np.stack([shown, shown[:, :, ::-1]], axis=1)
        shown = augmentation.choose_view(views, rows, seed, 0)
        caption = "Train images as the first epoch saw them: mirrored in every other epoch."
    elif augment == "rotate":
        caption = (
            "Train images before augmentation: in training they are mirrored, rotated and zoomed at random."
        )
    return mosaic(list(shown), BATCH // 2), caption


def _class_histogram(inputs: ReportInputs) -> str:
    """SVG of the number of images of each class, by split."""
    names = inputs.tensors.classes
    counts = {
        split: np.bincount(open_split(inputs.tensors, split).labels, minlength=len(names)) for split in SPLITS
    }

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if len(names) <= NAMED:
            _bars(axes, counts, in_pictures(names))
        else:
            for split, colour in SPLITS.items():
                axes.plot(np.sort(counts[split])[::-1], color=colour, label=split)
            axes.set(xlabel="classes, the largest first", ylabel="images")
            axes.set_ylim(bottom=0)
        axes.set_title("images by class")
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=3,
            borderaxespad=0,
            columnspacing=0.8,
            handlelength=1,
        )

    height = max(2.2, 0.24 * len(names) + 1) if len(names) <= NAMED else 3.0
    return plots.svg("images of each class by split", draw, (4.4, height))


def _bars(axes: Axes, counts: Mapping[str, NDArray[np.int64]], names: Sequence[str]) -> None:
    left = np.zeros(len(names))
    for split, colour in SPLITS.items():
        axes.barh(names, counts[split], left=left, color=colour, label=split)
        left += counts[split]
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _size_histogram(sides: NDArray[np.integer]) -> str:
    """SVG of the longer side of the source images, pixels (N,)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(sides, bins=min(40, max(1, len(np.unique(sides)))), color=FIRST)
        axes.set(xlabel="longer side of the source image, pixels", ylabel="images", title="image sizes")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    return plots.svg("sizes of the source images", draw, plots.HALF)
