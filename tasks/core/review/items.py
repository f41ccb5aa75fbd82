"""Which images a person should look at, in an order that does not tell why.

The lists are: likely wrong labels, the most confident mistakes of each model, duplicates with different
labels, and images to label next. Random images are added as controls. If a person looked only at the test
labels that the newest model doubts, only mistakes against this model would be corrected, and the gate would
favour it. So all models give equally many images, the order follows from a hash of the image, and the page
hides the predictions and the list until there is an answer.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.core.data.audit import duplicate_table
from tasks.core.data.readers.base import UNLABELLED, ImageRef, Reader
from tasks.core.data.tensors.cache import SPLITS, open_split, read_rows
from tasks.core.data.tensors.splits import fraction
from tasks.core.evaluation import evaluate
from tasks.core.evaluation.evaluate import Scored
from tasks.core.evaluation.label_issues import read_label_issues
from tasks.core.review.models import classes_of
from tasks.core.stage.handles import Audit, Evaluation, LabelIssues, TensorCache

MOST = 200  # images of a review, if no other number is given
MISTAKES = 36  # of each model and split: as many as the report shows
CONTROLS = 4  # other images for each control
LABEL_ISSUE, MISTAKE, DUPLICATE = "label issue", "mistake", "duplicate"
LABEL_NEXT, CONTROL = "label next", "control"


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image: the predicted class and its probability, 0..1."""

    model: str
    class_name: str
    probability: float


@dataclass(frozen=True)
class Item:
    """An image to look at.

    Args:
        image_id: The SHA-256 of its content; empty for an image that is not in the dataset.
        path: Where it is in the source, or the path of its file if it is not in the dataset.
        class_name: The given label; empty if it has none, or two.
        lists: Why it is shown: one or more of the lists' names.
        split, row: Where it is in the tensors; an empty split if it is not there.
        predictions: What the models say of it, if they have not been trained on it.
        note: What else a person must know.
        partner: The duplicate of it that has another label.
        thumbnail: A small PNG, in case its file cannot be read.
    """

    image_id: str
    path: str
    class_name: str
    lists: tuple[str, ...]
    split: str = ""
    row: int = -1
    predictions: tuple[Prediction, ...] = ()
    note: str = ""
    partner: "Item | None" = None
    thumbnail: bytes = b""

    @property
    def key(self) -> str:
        """What names the image in a file of decisions."""
        return self.image_id or self.path

    @property
    def order(self) -> float:
        """Its place in the queue: random with respect to everything else, and fixed for the image."""
        return fraction("plumbline review", self.key)


@dataclass(frozen=True)
class ReviewInputs:
    """The outputs that a review is made from.

    Args:
        tensors: The images with their labels.
        models: The evaluations of models on these tensors, by name, such as "v0002".
        label_issues: Likely wrong labels, of each model that has them.
        audit: The audit with all duplicates; None without one.
        reader: The source; None if it cannot be read.
        label_next: Images without a label, the most useful first.
    """

    tensors: TensorCache
    models: Mapping[str, Evaluation]
    label_issues: Sequence[LabelIssues] = ()
    audit: Audit | None = None
    reader: Reader | None = None
    label_next: Sequence[Item] = field(default_factory=tuple)


def choose(
    inputs: ReviewInputs, most: int = MOST, is_decided: Callable[[Item], bool] = lambda item: False
) -> list[Item]:
    """The images to look at, in the order of the review.

    Args:
        inputs: The outputs of a run.
        most: Largest number of images.
        is_decided: Whether a person has decided about an image already; it is not shown again.
    """
    images = _Images(inputs.tensors)
    listed = _first(_by_turns(_lists(inputs, images)), most - most // (CONTROLS + 1), is_decided)
    of_tensors = [item for item in listed if item.split]
    controls = _controls(images, of_tensors, is_decided)
    chosen = [*listed, *islice(controls, most - len(listed))]
    return _with_predictions(sorted(chosen, key=lambda item: item.order), inputs)


def _lists(inputs: ReviewInputs, images: "_Images") -> list[Iterator[Item]]:
    """Each list, the most important image first."""
    return [
        *(_label_issues(issues) for issues in inputs.label_issues),
        *(
            _mistakes(evaluate.scored_of(evaluation, inputs.tensors, split), split, images)
            for evaluation in inputs.models.values()
            for split in evaluate.SPLITS
        ),
        _duplicates(inputs.audit, images),
        _contradictions(inputs.reader),
        iter(inputs.label_next),
    ]


def _by_turns(lists: Iterable[Iterator[Item]]) -> Iterator[Item]:
    """The first image of each list, then the second of each, and so on."""
    return (item for items in zip_longest(*lists) for item in items if item is not None)


def _first(items: Iterator[Item], most: int, is_decided: Callable[[Item], bool]) -> list[Item]:
    """The first `most` different images; each has the names of all lists that it is in."""
    chosen: dict[str, Item] = {}
    for item in items:
        if item.key in chosen:
            known = chosen[item.key]
            lists = tuple(dict.fromkeys(known.lists + item.lists))
            chosen[item.key] = replace(known, lists=lists, partner=known.partner or item.partner)
        elif len(chosen) < most and not is_decided(item):
            chosen[item.key] = item
    return list(chosen.values())


class _Images:
    """Makes items of rows of the tensors."""

    def __init__(self, tensors: TensorCache) -> None:
        self.tensors, self.classes = tensors, tensors.classes
        self.labels = {split: open_split(tensors, split).labels for split in SPLITS}
        self._rows: dict[str, pa.Table] = {}  # read when they are needed: train may have millions

    def item(self, split: str, row: int, *lists: str) -> Item:
        """The item of a row."""
        if split not in self._rows:
            self._rows[split] = read_rows(self.tensors, ["image_id", "path"], split)
        image_id, path = (self._rows[split][name][row].as_py() for name in ("image_id", "path"))
        return Item(image_id, path, self.classes[self.labels[split][row]], lists, split, row)


def _label_issues(issues: LabelIssues) -> Iterator[Item]:
    columns = ["image_id", "path", "class_name", "split", "row"]
    for image_id, path, class_name, split, row in read_label_issues(issues)[columns].itertuples(index=False):
        yield Item(image_id, path, class_name, (LABEL_ISSUE,), split, int(row))


def _mistakes(scored: Scored, split: str, images: _Images) -> Iterator[Item]:
    rows = np.flatnonzero(scored.predicted != scored.labels)
    surest = rows[np.argsort(-scored.probabilities[rows].max(axis=1), kind="stable")]
    for row in surest[:MISTAKES].tolist():
        yield images.item(split, row, MISTAKE)


def _duplicates(audit: Audit | None, images: _Images) -> Iterator[Item]:
    """Both images of each pair with different labels, the closest pair first."""
    if audit is None:
        return
    columns = ["split_a", "row_a", "split_b", "row_b"]
    for split_a, row_a, split_b, row_b in zip(
        *(duplicate_table.read(audit)[name].to_pylist() for name in columns), strict=True
    ):
        if images.labels[split_a][row_a] == images.labels[split_b][row_b]:
            continue
        a, b = images.item(split_a, row_a, DUPLICATE), images.item(split_b, row_b, DUPLICATE)
        if a.image_id == b.image_id:
            yield replace(a, class_name="", note=_two_classes(a.path, a.class_name, b.path, b.class_name))
        else:
            yield replace(a, partner=b)
            yield replace(b, partner=a)


def _contradictions(reader: Reader | None) -> Iterator[Item]:
    """Images whose exact copy has another label; normalize leaves all copies out."""
    if reader is None or reader.published:
        return
    index = reader.index()
    first: dict[str, ImageRef] = {}
    for number in index.duplicated:
        image = index[number]
        if image.label == UNLABELLED:
            continue
        original = first.setdefault(image.image_id, image)
        if original.label != image.label:
            names = (reader.classes[original.label], reader.classes[image.label])
            note = _two_classes(original.path, names[0], image.path, names[1])
            yield Item(image.image_id, original.path, "", (DUPLICATE,), note=f"{note} None is used now.")


def _two_classes(path: str, class_name: str, other_path: str, other_class_name: str) -> str:
    return (
        f"The same image has two labels: {class_name} ({path}) and {other_class_name} ({other_path}). "
        "Your answer counts for all copies."
    )


def _controls(images: _Images, listed: Sequence[Item], is_decided: Callable[[Item], bool]) -> Iterator[Item]:
    """Random images of the same splits that are on no list: one for each `CONTROLS` images of a split."""
    keys = {item.key for item in listed}
    counts = pd.Series([item.split for item in listed], dtype=str).value_counts()
    for split, count in sorted(counts.items()):
        wanted = math.ceil(count / CONTROLS)
        numbers = np.random.default_rng(len(images.labels[split])).permutation(len(images.labels[split]))
        others = (images.item(str(split), int(number), CONTROL) for number in numbers)
        for item in others:
            if not wanted:
                break
            if item.key not in keys and not is_decided(item):
                wanted -= 1
                yield item


def _with_predictions(items: Sequence[Item], inputs: ReviewInputs) -> list[Item]:
    classes = {name: classes_of(each, inputs.tensors) for name, each in inputs.models.items()}
    probabilities = {
        (model, split): evaluate.scored_of(evaluation, inputs.tensors, split).probabilities
        for model, evaluation in inputs.models.items()
        for split in evaluate.SPLITS
    }

    def predictions(item: Item) -> Iterator[Prediction]:
        for model in inputs.models if item.split in evaluate.SPLITS else ():
            row = probabilities[model, item.split][item.row]
            yield Prediction(model, classes[model][int(row.argmax())], float(row.max()))

    return [replace(item, predictions=item.predictions or tuple(predictions(item))) for item in items]
