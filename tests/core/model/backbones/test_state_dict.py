"""The reader of PyTorch's files before version 1.6, on files that the tests write opcode by opcode."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import FormatError
from tasks.core.model.backbones import state_dict
from tests.support.state_dict_file import View, contiguous, write

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_read_gives_arrays_by_name(tmp_path: Path) -> None:
    views = {"weight": contiguous(MATRIX), "steps": contiguous(np.array([7, 8], np.int64))}
    arrays = state_dict.read(write(tmp_path / "weights.pth", views))
    assert list(arrays) == ["weight", "steps"]
    np.testing.assert_array_equal(arrays["weight"], MATRIX)
    np.testing.assert_array_equal(arrays["steps"], [7, 8])
    assert [array.dtype for array in arrays.values()] == [np.float32, np.int64]


def test_read_honours_strides_and_offset(tmp_path: Path) -> None:
    block = np.arange(10, dtype=np.float32)
    views = {"transposed": View(MATRIX.ravel(), (3, 2), (1, 3)), "part": View(block, (2, 2), (4, 1), 3)}
    arrays = state_dict.read(write(tmp_path / "weights.pth", views))
    np.testing.assert_array_equal(arrays["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(arrays["part"], [[3, 4], [7, 8]])


def test_read_gives_scalars_and_empty_arrays(tmp_path: Path) -> None:
    views = {"count": View(np.array([5], np.int64), (), ()), "empty": View(MATRIX.ravel()[:0], (0,), (1,))}
    arrays = state_dict.read(write(tmp_path / "weights.pth", views))
    assert arrays["count"] == 5
    assert arrays["empty"].shape == (0,)


@pytest.mark.parametrize("name", [b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nDoubleStorage\n"])
def test_read_refuses_a_name_that_no_state_dict_needs(name: bytes, tmp_path: Path) -> None:
    file = write(tmp_path / "weights.pth", {"weight": View(MATRIX.ravel(), (6,), (1,), rebuild=name)})
    with pytest.raises(FormatError, match=name.decode()[1:].strip().replace("\n", ".")):
        state_dict.read(file)


@pytest.mark.parametrize(
    ("size", "strides", "offset"),
    [((7,), (1,), 0), ((2, 3), (4, 1), 0), ((6,), (1,), 1), ((6,), (-1,), 5), ((1,), (1,), -1)],
    ids=["too many", "stride too large", "offset too large", "negative stride", "negative offset"],
)
def test_read_refuses_a_view_beyond_its_block(
    size: tuple[int, ...], strides: tuple[int, ...], offset: int, tmp_path: Path
) -> None:
    file = write(tmp_path / "weights.pth", {"weight": View(MATRIX.ravel(), size, strides, offset)})
    with pytest.raises(FormatError, match="beyond its block"):
        state_dict.read(file)


def test_read_refuses_every_truncated_file(tmp_path: Path) -> None:
    content = write(tmp_path / "weights.pth", {"weight": contiguous(MATRIX)}).read_bytes()
    for size in range(len(content)):
        (tmp_path / "part.pth").write_bytes(content[:size])
        with pytest.raises(FormatError, match=r"part\.pth is no state dict"):
            state_dict.read(tmp_path / "part.pth")


def test_read_refuses_another_magic_number(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="magic"):
        state_dict.read(write(tmp_path / "weights.pth", {}, magic=1))


def test_read_refuses_a_zip_of_newer_versions(tmp_path: Path) -> None:
    (tmp_path / "new.pth").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(FormatError):
        state_dict.read(tmp_path / "new.pth")


def test_read_of_a_file_with_any_changed_byte_gives_arrays_or_a_format_error(tmp_path: Path) -> None:
    content = write(tmp_path / "weights.pth", {"weight": contiguous(MATRIX)}).read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x41
        (tmp_path / "changed.pth").write_bytes(changed)
        try:
            arrays = state_dict.read(tmp_path / "changed.pth")
        except FormatError:
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
