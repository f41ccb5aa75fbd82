"""CSV files as programs write them: read as they are meant, or refused with the line and the reason."""

import csv
from pathlib import Path

import pytest

from tasks.core.data import csv_text

TEXT = "path;label\na.png;x\n\nb.png;y\n"
READ = ("path", "label"), [(2, "a.png", "x"), (4, "b.png", "y")]


def read(
    folder: Path, content: bytes, *, skips_blanks: bool = False
) -> tuple[tuple[str, ...], list[tuple[int, str, str]]]:
    """The names of the columns, and each row with the number of its line."""
    path = folder / "table.csv"
    path.write_bytes(content)
    with csv_text.rows(path, ("path", "label"), skips_blanks=skips_blanks) as rows:
        found = [(rows.line_num, row["path"], row["label"]) for row in rows]
        return tuple(rows.fieldnames), found


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("", TEXT),
        ("sep=;\n", TEXT),
        ('"sep=;"\n', TEXT),
        ("SEP=|\n", TEXT.replace(";", "|")),
        ("sep=\t\n", TEXT.replace(";", "\t")),
        ("\n;\n", TEXT),
        ("", TEXT + ";\n   \n" + "\n" * 2000),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_form_is_read_with_the_lines_of_the_file(
    tmp_path: Path, before: str, text: str, encoding: str, end: str
) -> None:
    content = (before + text).replace("\n", end).encode(encoding)
    lines = before.count("\n")
    assert read(tmp_path, content) == (READ[0], [(lines + number, *row) for number, *row in READ[1]])


@pytest.mark.parametrize("header", ['path;label;"a, b, c"', "path;label;a, b"])
def test_separator_of_the_header_counts(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, f"{header}\na.png;x;1,5\n".encode())[1] == [(2, "a.png", "x")]


def test_quotes_may_follow_blanks_where_blanks_do_not_count(tmp_path: Path) -> None:
    content = b'"path", "label"\n"a.png", "x"\n'
    assert read(tmp_path, content, skips_blanks=True) == (READ[0], [(2, "a.png", "x")])
    assert read(tmp_path, b"path,label\na.png, x \n")[1] == [(2, "a.png", " x ")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'path,label\na.png,x\nb.png,"y\nc.png,z\n', "line 3: unexpected end of data"),
        (b'sep=,\npath,label\nb.png,"y"z\n', "line 3: ',' expected after '\"'"),
        (b"path,label\na.png,x\nb.png,\xe4\n", "line 3 is not in UTF-8"),
        ("path,label\na.png,x\n".encode("utf-16-le"), "line 1 is no text"),
        ("path,label\na.png,x\n".encode("utf-16")[:-1], "not in UTF-16"),
        (b"path,label,Label\na.png,x,y\n", "line 1 names the column label twice"),
    ],
)
def test_refusal_names_the_line_and_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(csv.Error) as caught:
        read(tmp_path, content)
    assert words in str(caught.value)
