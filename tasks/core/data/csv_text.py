"""CSV files as spreadsheets and shells save them: comma, semicolon or tab; UTF-8, or UTF-16 with its mark.

Where a comma is the decimal sign, spreadsheets write semicolons; "Unicode text" and PowerShell write UTF-16.
A first line such as `sep=;` tells Excel the separator. Lines in which nothing is written do not count.
"""

import codecs
import csv
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

SEPARATORS = ",;\t"  # the one that the header has most often counts
NAMED_SEPARATOR = re.compile(r'"?sep=([^\w"\r\n])"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"[^"]*"')
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SAVE_AS = 'save it as "CSV UTF-8"'


class Lines:
    """The lines of a CSV as lists of cells, without those in which nothing is written.

    Args:
        file: The text, from the header on.
        separator: What is between two cells.
        before: Number of lines before the header.
        skips_blanks: Whether blanks before a cell are left out, so that a quote may follow them.
    """

    def __init__(self, file: IO[str], separator: str, before: int, *, skips_blanks: bool) -> None:
        self._before = before
        self._reader = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=skips_blanks)

    @property
    def line_num(self) -> int:
        """Number of the line in the file at which the last one ended, from 1 on."""
        return self._before + self._reader.line_num

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> list[str]:
        while True:
            begin = self.line_num + 1
            try:
                cells = next(self._reader)
            except csv.Error as error:  # a quote that is not closed is found at the end of the file
                raise csv.Error(f"line {begin}: {error}; a quote within quotes must be doubled") from error
            text = "".join(cells)
            if "\0" in text:
                raise csv.Error(f"line {begin} is no text (it has a NUL character): {SAVE_AS}")
            if text and not text.isspace():
                return cells


class Rows:
    """Lines below a header, as dictionaries by its names; cells beyond them are a list by None.

    Args:
        lines: The lines.
        own: See `rows`.
    """

    def __init__(self, lines: Lines, own: Collection[str]) -> None:
        self._lines = lines
        names = next(lines, [])
        self.fieldnames = [known if (known := name.strip().lower()) in own else name for name in names]

    @property
    def line_num(self) -> int:
        """See `Lines`."""
        return self._lines.line_num

    def __iter__(self) -> Iterator[dict[Any, Any]]:
        names, count = self.fieldnames, len(self.fieldnames)
        for cells in self._lines:
            row: dict[Any, Any] = dict(zip_longest(names, cells[:count]))
            if len(cells) > count:
                row[None] = cells[count:]
            yield row


@contextmanager
def opened(path: Path, *, skips_blanks: bool = True) -> Iterator[Lines]:
    """The lines of a CSV, of which the first one is the header.

    Args:
        path: The file.
        skips_blanks: See `Lines`.

    Raises:
        OSError: It cannot be read.
        csv.Error: Its bytes are no text in UTF-8 or UTF-16, or a quote is wrong. The message has the line.
    """
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as text:
            separator, before = _at_header(text)
            yield Lines(text, separator, before, skips_blanks=skips_blanks)
    except UnicodeError as error:
        raise csv.Error(f"{_undecodable(path, encoding)}: {SAVE_AS}") from error


@contextmanager
def rows(path: Path, own: Collection[str], *, skips_blanks: bool = False) -> Iterator[Rows]:
    """The rows of a CSV with a header, as dictionaries.

    Args:
        path: The file.
        own: Names of columns, in lower case, that are known in any case and with blanks around them.
        skips_blanks: See `Lines`.

    Raises:
        OSError, csv.Error: See `opened`. One of the columns `own` is there twice.
    """
    with opened(path, skips_blanks=skips_blanks) as lines:
        reader = Rows(lines, own)
        if twice := [name for name in own if reader.fieldnames.count(name) > 1]:
            raise csv.Error(f"line {lines.line_num} names the column {twice[0]} twice: remove one of them")
        yield reader


def _at_header(file: IO[str]) -> tuple[str, int]:
    """The separator, and the number of lines before the header, where the file then stands."""
    named, before = None, 0
    while True:
        position = file.tell()
        line = file.readline()
        given = NAMED_SEPARATOR.fullmatch(line) if named is None else None
        if given is None and (line.strip(SEPARATORS + " \r\n") or not line):
            break
        named, before = given[1] if given else named, before + 1
    file.seek(position)
    unquoted = QUOTED.sub("", line)
    return named or max(SEPARATORS, key=unquoted.count), before


def _undecodable(path: Path, encoding: str) -> str:
    """Where a file is not in its encoding; UTF-16 has no lines of bytes."""
    if encoding == "utf-16":
        return "it is not in UTF-16, with which it begins"
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number} is not in UTF-8"
    return "it is not in UTF-8"
