"""Adds the metadata of a LiteRT file: its labels, and what its input and output are.

Readers find two things (https://ai.google.dev/edge/litert/conversion/tensorflow/metadata): a flatbuffer under
the name TFLITE_METADATA, which says that `labels.txt` has the names of the output's second axis, and the file
itself, in a zip archive that is appended to the model. The model's own reader ignores the archive, and a
program that reads zip archives ignores the model. `plumbline.json` is in the archive, too.

The flatbuffer is written by the slot numbers of version 1.5.0 of the public schema `metadata_schema.fbs`: the
package that has the generated writer, tflite-support, ends with Python 3.11 and needs protobuf below 4.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TypeAlias

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from tasks.core.model.export.description import FILE, LABELS, Description, labels_text

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
MIN_PARSER_VERSION = "1.0.0"  # of the schema: all fields that are written were in its first version
TENSOR_AXIS_LABELS = 2  # a type of associated file
IMAGE_PROPERTIES = 2  # a type of content
RGB, GRAYSCALE = 1, 2
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first date


@dataclass(frozen=True)
class Table:
    """A table of a flatbuffer, its fields in the order of their slots; None leaves a field out.

    Args:
        fields: Texts, vectors of tables, tables, and numbers of 8 bits.
    """

    fields: tuple["Field", ...]


Field: TypeAlias = str | int | list[Table] | Table | None


def add_metadata(model: bytes, description: Description) -> bytes:
    """A LiteRT model with its metadata and associated files.

    Args:
        model: The flatbuffer that the converter wrote, with one input and one output.
        description: What the model takes and returns.
    """
    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    content.buffers.append(schema.BufferT(data=list(_metadata(description))))
    content.metadata.append(schema.MetadataT(NAME, len(content.buffers) - 1))
    described = flatbuffer_utils.convert_object_to_bytearray(content)
    return _append_files(
        bytes(described),
        {LABELS: labels_text(description.classes), FILE: json.dumps(description.facts())},
    )


def _append_files(model: bytes, files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    buffer.write(model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text.encode())
    return buffer.getvalue()


def _metadata(description: Description) -> bytes:
    color_space = RGB if description.shape[2] == 3 else GRAYSCALE
    content = Table((IMAGE_PROPERTIES, Table((color_space, None)), None))
    labels = Table((LABELS, "Class names, one a line, in the order of the labels.", TENSOR_AXIS_LABELS))
    images = Table(("images", description.input_text(), None, content))
    probabilities = Table(("probabilities", "Probability of each class.", None, None, None, None, [labels]))
    subgraph = Table((None, None, [images], [probabilities]))
    text = f"Classifies images of {description.dataset}."
    model = Table(("plumbline", text, None, [subgraph], None, None, None, MIN_PARSER_VERSION))
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, model), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, field: str | list[Table] | Table) -> int:
    """Write a field and what it refers to. Returns its offset."""
    if isinstance(field, str):
        return int(builder.CreateString(field))
    if isinstance(field, list):
        offsets = [_write(builder, table) for table in field]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    written = [
        each if isinstance(each, int) or each is None else (_write(builder, each),) for each in field.fields
    ]
    builder.StartObject(len(written))
    for slot, value in enumerate(written):
        if isinstance(value, int):
            builder.PrependUint8Slot(slot, value, 0)
        elif value is not None:
            builder.PrependUOffsetTRelativeSlot(slot, value[0], 0)
    return int(builder.EndObject())
