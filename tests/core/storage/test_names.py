from pathlib import Path

import pytest

from tasks.core.errors import DataError
from tasks.core.storage import names

OUTSIDE = {
    "..": "..",
    "../1.jpg": "..",
    "cat/../../1.jpg": "..",
    "cat/..": "..",
    "/etc/1.jpg": "absolute",
    "//host/1.jpg": "absolute",
    "..\\1.jpg": "backslash",
    "cat\\1.jpg": "backslash",
    "C:/1.jpg": "drive",
    "c:1.jpg": "drive",
    "cat/\0/1.jpg": "zero byte",
    "": "empty",
    ".": "part .",
    "./1.jpg": "part .",
    "cat/./1.jpg": "part .",
    "cat//1.jpg": "empty part",
    "cat/": "empty part",
    "cat/\udcff.jpg": "UTF-8",
    "cat/" + "ä" * 122 + ".jpg": "242 bytes",
}
INSIDE = [
    "1.jpg",
    "cat/1.jpg",
    "cat/...jpg",
    "..cat/1.jpg",
    "cat/a:b.jpg",
    "Zürich/猫.jpg",
    "cat/Icon\r",
    "ä" * 121,
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_refusal_of_a_name_that_does_not_stay_inside(tmp_path: Path, name: str) -> None:
    assert OUTSIDE[name] in names.refusal(name)
    with pytest.raises(DataError, match="s3://bucket has a file whose name") as error:
        names.path_inside(tmp_path, name, "s3://bucket")
    assert error.value.parts["found"] == repr(name)


@pytest.mark.parametrize("name", INSIDE)
def test_refusal_of_a_name_that_stays_inside_is_empty(tmp_path: Path, name: str) -> None:
    assert names.refusal(name) == ""
    assert names.path_inside(tmp_path, name, "") == tmp_path / name
