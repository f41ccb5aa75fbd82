"""The columns of images and labels of a parquet file, in the layout of the Hugging Face hub.

One column holds the encoded images, as `struct<bytes: binary, path: string>` or plain binary. Another holds
the labels. Their class names are in the schema's metadata (key "huggingface", feature type ClassLabel,
https://huggingface.co/docs/datasets/about_dataset_features). String labels are class names themselves;
integers without names become names such as "3", booleans "false" and "true". A column `split` says the
split of each image, unless the file's name does. Other columns of text or numbers are the group of an image
and its attributes (`files.columns`).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.data.files import columns
from tasks.core.data.files.class_names import layout_error

WITHOUT_LABELS = "parquet with a column of images, struct<bytes, path>"
LAYOUT = f"{WITHOUT_LABELS}, and one of labels"
IMAGES = ("image", "img")
NO_ATTRIBUTES = ("path",)
SPLIT = "split"
LABELS = ("label", "fine_label", "labels", "class")
NAMED = frozenset({*IMAGES, *LABELS, SPLIT, columns.GROUP})  # found in any case, as in a CSV
REMEDIES = {
    "images": "store the encoded images as bytes in a column image",
    "labels": "store one text or whole number for each image in a column label",
}


@dataclass(frozen=True)
class Columns:
    """The columns of images and labels.

    Args:
        image: Name of the column of images.
        bytes: Path of the encoded images for reading: "image.bytes", or "image" if it is plain binary.
        label: Name of the column of labels.
        split: Name of the column of splits; empty without one.
        splits: The names of its integers, if any.
        names: Class names by label; empty if the labels are names or numbers themselves.
        further: The other columns of text or numbers, each with the names of its integers, if any.
    """

    image: str
    bytes: str
    label: str
    split: str
    splits: tuple[str, ...]
    names: tuple[str, ...]
    further: Mapping[str, tuple[str, ...]]


def find(path: Path, schema: pa.Schema) -> Columns:
    """Find the columns of images and labels.

    Raises:
        DataError: There is no such column, or several without a usual name, or two of one name, or the class
            names do not fit.
    """
    _refuse_twice(path, schema)
    _refuse_unusable(path, schema)
    features = _features(path, schema)
    image = image_of(path, schema, LAYOUT)
    with_names = [
        name
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and usual_name(name) != SPLIT
    ]
    without_names = [
        field.name
        for field in schema
        if columns.is_text_like(field.type) and usual_name(field.name) in LABELS
    ]
    candidates = [name for name in with_names if name in schema.names] or without_names
    label = _pick(path, schema, "labels", LABELS, candidates, LAYOUT)
    names = _class_names(path, schema.field(label), features[label]) if label in with_names else ()
    further = {
        field.name: tuple(map(str, features.get(field.name, {}).get("names") or ()))
        for field in schema
        if columns.is_text_like(field.type) and field.name not in (*NO_ATTRIBUTES, label)
    }
    split = next((name for name in further if usual_name(name) == SPLIT), "")
    splits = further.pop(split, ())
    return Columns(image, bytes_of(schema, image), label, split, splits, names, further)


def usual_name(name: str) -> str:
    """The name of a column that has a meaning, in lower case and trimmed; any other name as it is.

    >>> [usual_name(name) for name in ("Label", " Group", "Site")]
    ['label', 'group', 'Site']
    """
    usual = name.strip().lower()
    return usual if usual in NAMED else name


def _class_names(path: Path, label: pa.Field, feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that the metadata have for the labels; empty if they have none.

    Raises:
        DataError: They are not distinct names, or the labels are not numbers of them.
    """
    names = feature.get("names") or ()
    if not isinstance(names, list | tuple) or len(set(map(str, names))) != len(names):
        raise layout_error(
            str(path), "has class names that are not a list of distinct names", LAYOUT, str(names)
        )
    if names and not pa.types.is_integer(label.type):
        raise layout_error(str(path), "has class names for labels that are not integers", LAYOUT, label.name)
    return tuple(map(str, names))


def image_of(path: Path, schema: pa.Schema, layout: str = WITHOUT_LABELS) -> str:
    """The name of the column of images.

    Args:
        path: The file, for messages.
        schema: Its columns.
        layout: What is expected of the file, for messages.

    Raises:
        DataError: There is no such column, or several without a usual name.
    """
    candidates = [field.name for field in schema if _holds_bytes(field.type)]
    return _pick(path, schema, "images", IMAGES, candidates, layout)


def bytes_of(schema: pa.Schema, image: str) -> str:
    """The path of a column's encoded images for reading: "image.bytes", or "image" if it is plain binary."""
    return f"{image}.bytes" if pa.types.is_struct(schema.field(image).type) else image


def _features(path: Path, schema: pa.Schema) -> dict[str, Any]:
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return {}
    try:
        features = json.loads(stored)["info"]["features"]
        return {str(name): dict(feature) for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise layout_error(
            str(path), "has metadata that do not describe its columns", LAYOUT, found
        ) from error


def _refuse_twice(path: Path, schema: pa.Schema) -> None:
    counts = Counter(map(usual_name, schema.names))
    if twice := sorted({name for name in schema.names if counts[usual_name(name)] > 1}):
        todo = "rename or drop all but one of them"
        raise layout_error(str(path), "has columns of one name", LAYOUT, f"twice: {', '.join(twice)}", todo)


def _refuse_unusable(path: Path, schema: pa.Schema) -> None:
    """Refuse a column of splits or groups that would be left out for its type: images would mix then."""
    for field in schema:
        if usual_name(field.name) in (SPLIT, columns.GROUP) and not columns.is_text_like(field.type):
            what, todo = (
                f"has a column {field.name} that is not used",
                "store it as text, or rename the column",
            )
            raise layout_error(str(path), what, "text or numbers in it", str(field.type), todo)


def _pick(
    path: Path, schema: pa.Schema, what: str, usual: Sequence[str], candidates: list[str], layout: str
) -> str:
    for name in usual:
        for candidate in candidates:
            if usual_name(candidate) == name:
                return candidate
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(f"{field.name}: {field.type}" for field in schema)
    expected, todo = f"{layout}; of several, one named {' or '.join(usual)}", REMEDIES[what]
    if layout == LAYOUT and what == "images":
        todo += "; for paths, give a CSV of path,label"
    raise layout_error(str(path), f"has no clear column of {what}", expected, found, todo)


def _holds_bytes(data_type: pa.DataType) -> bool:
    if pa.types.is_struct(data_type):
        index = data_type.get_field_index("bytes")
        return index >= 0 and _holds_bytes(data_type.field(index).type)
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(kind(data_type) for kind in kinds)
