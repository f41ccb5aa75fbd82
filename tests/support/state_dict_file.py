"""Writes state dicts as PyTorch before version 1.6 did, opcode by opcode, so that they can also be wrong."""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
HEADER = b"\x80\x02"  # PROTO 2
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"  # GLOBAL, EMPTY_TUPLE, REDUCE
STORAGES = {"float32": b"ctorch\nFloatStorage\n", "int64": b"ctorch\nLongStorage\n"}


@dataclass(frozen=True)
class View:
    """An array in the file.

    Args:
        block: The numbers, one-dimensional.
        size, strides: Shape, and steps in numbers.
        offset: The first number.
        rebuild: What makes an array of it, as pickle's GLOBAL opcode.
    """

    block: NDArray[Any]
    size: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    rebuild: bytes = REBUILD


def write(path: Path, views: Mapping[str, View], magic: int = MAGIC) -> Path:
    """Write a state dict; every view has a block of its own."""
    keys = [str(number) for number in range(len(views))]
    items = [_value(name) + _tensor(key, view) for key, (name, view) in zip(keys, views.items(), strict=True)]
    tensors = HEADER + ORDERED_DICT + b"(" + b"".join(items) + b"u."  # MARK, items, SETITEMS, STOP
    parts = [pickle.dumps(value, 2) for value in (magic, PROTOCOL, {"little_endian": True})]
    parts += [tensors, pickle.dumps(keys, 2)]
    parts += [struct.pack("<q", len(view.block)) + view.block.tobytes() for view in views.values()]
    path.write_bytes(b"".join(parts))
    return path


def _tensor(key: str, view: View) -> bytes:
    count = _value(len(view.block))
    storage = b"(" + _value("storage") + STORAGES[str(view.block.dtype)] + _value(key) + _value("cpu")
    storage += count + b"NtQ"  # NONE, TUPLE, BINPERSID
    arguments = b"(" + storage + _value(view.offset) + _value(view.size) + _value(view.strides)
    return view.rebuild + arguments + b"\x89" + ORDERED_DICT + b"tR"  # NEWFALSE


def _value(value: Any) -> bytes:
    """The opcodes of a plain value, without the protocol and the end."""
    return pickle.dumps(value, 2)[2:-1]


def contiguous(array: NDArray[Any]) -> View:
    """A view of a whole block, in C order."""
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
    return View(array.ravel(), array.shape, strides)
