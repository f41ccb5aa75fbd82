"""Reads a PyTorch state dict in the file format before version 1.6, without PyTorch.

The file is a sequence of pickles, then the raw bytes of the arrays. The unpickler here knows the four names
that a state dict needs and refuses every other one, so that no code of the file runs. Format:
`_legacy_save` in https://github.com/pytorch/pytorch/blob/v1.5.0/torch/serialization.py
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import FormatError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# What `pickle` and the steps after it raise for damaged files.
UNREADABLE = (
    *(pickle.UnpicklingError, struct.error, ValueError, KeyError, EOFError, TypeError, AttributeError),
    *(IndexError, OverflowError, MemoryError),
)
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    """One block of numbers in the file."""

    key: str
    dtype: np.dtype[Any]
    size: int


class _Tensor(NamedTuple):
    """An array as a view of a block: the first number, the sizes and the strides in numbers."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a state dict by name.

    Args:
        path: The file; its SHA-256 must have been checked.

    Raises:
        FormatError: It is no state dict of that format.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except UNREADABLE as error:
        raise FormatError(
            f"{path.name} is no state dict in PyTorch's format before version 1.6",
            expected="named arrays of float32 and int64",
            found=str(error) or type(error).__name__,
            done="nothing of it was executed",
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    header = _load(file), _load(file)
    if header != (MAGIC, PROTOCOL):
        raise ValueError("another magic number or protocol")
    _load(file)  # byte order and sizes of the writer's C types
    tensors, keys = _load(file), _load(file)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    blocks = {key: _block(file, storages[key]) for key in keys}
    return {name: _view(tensor, blocks[tensor.storage.key]) for name, tensor in tensors.items()}


def _load(file: BinaryIO) -> Any:
    return _StateDictUnpickler(file).load()


class _StateDictUnpickler(pickle.Unpickler):
    """Knows four names; a pickle that has any other one is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, strides, *_: _Tensor(storage, offset, size, strides)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"the name {module}.{name}, which no state dict needs")

    def persistent_load(self, saved: Any) -> _Storage:
        kind, dtype, key, _, count, _ = saved
        if kind != "storage":
            raise pickle.UnpicklingError(f"a saved object of kind {kind}")
        return _Storage(str(key), dtype, int(count))


def _block(file: BinaryIO, storage: _Storage) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.size:
        raise ValueError(f"{count} numbers in block {storage.key}, where {storage.size} are declared")
    return np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype, count)


def _view(tensor: _Tensor, block: NDArray[Any]) -> NDArray[Any]:
    """A copy of the view; some arrays are saved transposed, so the strides decide."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.strides, strict=True))
    if tensor.offset < 0 or min((*tensor.strides, 0)) < 0 or last >= max(1, len(block)):
        raise ValueError("an array reaches beyond its block")
    strides = [step * block.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(block[tensor.offset :], tensor.size, strides)
    return np.array(view, order="C")
