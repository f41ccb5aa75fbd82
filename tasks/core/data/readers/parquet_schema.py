"""Which columns of a parquet file are the images and the labels, in the layout of the Hugging Face hub.

A column holds the encoded images, `struct<bytes: binary, path: string>` or plain binary; another the labels,
whose class names stand in the schema's metadata (key "huggingface", feature type ClassLabel,
https://huggingface.co/docs/datasets/about_dataset_features). Labels that are strings are class names
themselves; whole numbers without names are called by their number.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.data.readers.class_names import layout_error

LAYOUT = "parquet with a column of images, struct<bytes, path>, and one of labels"
IMAGES = ("image", "img")
LABELS = ("label", "fine_label", "labels", "class")


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Args:
        image: Name of the column of images.
        bytes: Path of the encoded images for reading: "image.bytes", or "image" if it is plain binary.
        label: Name of the column of labels.
        names: Class names by label; empty if the labels are names or numbers themselves.
    """

    image: str
    bytes: str
    label: str
    names: tuple[str, ...]


def find(path: Path, schema: pa.Schema) -> Columns:
    """Find the columns of images and labels.

    Raises:
        DataError: There is none, or more than one and none has a usual name.
    """
    features = _features(path, schema)
    image = image_of(path, schema)
    classed = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    plain = [field.name for field in schema if _holds_labels(field.type) and field.name in LABELS]
    label = _pick(path, schema, "labels", LABELS, [name for name in classed if name in schema.names] or plain)
    names = features.get(label, {}).get("names", ()) if label in classed else ()
    if not isinstance(names, list | tuple) or len(set(map(str, names))) != len(names):
        raise layout_error(
            str(path), "has class names that are no list of different names", LAYOUT, str(names)
        )
    if names and not pa.types.is_integer(schema.field(label).type):
        raise layout_error(str(path), "has class names for labels that are no numbers", LAYOUT, label)
    return Columns(image, bytes_of(schema, image), label, tuple(map(str, names)))


def image_of(path: Path, schema: pa.Schema) -> str:
    """The name of the column of images, whether there are labels or not.

    Raises:
        DataError: There is none, or more than one and none has a usual name.
    """
    return _pick(path, schema, "images", IMAGES, [field.name for field in schema if _holds_bytes(field.type)])


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
            str(path), "has a description of its columns that isn't one", LAYOUT, found
        ) from error


def _pick(path: Path, schema: pa.Schema, what: str, usual: Sequence[str], found: list[str]) -> str:
    for name in usual:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{field.name}: {field.type}" for field in schema)
    raise layout_error(str(path), f"has no clear column of {what}", f"{LAYOUT} ({' or '.join(usual)})", there)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_labels(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))
