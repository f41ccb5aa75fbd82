"""CSV files as spreadsheets and shells save them: comma, semicolon or tab; UTF-8, or UTF-16 with its mark.

Where a comma is the decimal sign, spreadsheets write semicolons; "Unicode text" and PowerShell write UTF-16.
"""

import codecs
import csv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SEPARATORS = ",;\t"  # the first one that the header has counts
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NOT_UTF_8 = 'it is not in UTF-8 (byte {}): save it as "CSV UTF-8"'


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[str], str]]:
    """The text of a CSV, from its first line on, and its separator.

    Raises:
        OSError: It cannot be read.
        csv.Error: Its bytes are no text in UTF-8 or UTF-16.
    """
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as file:
            header = file.readline()
            file.seek(0)
            yield file, next((separator for separator in SEPARATORS if separator in header), ",")
    except UnicodeError as error:
        raise csv.Error(NOT_UTF_8.format(getattr(error, "start", "?"))) from error


@contextmanager
def rows(path: Path, own: Collection[str], *, strict: bool = False) -> Iterator["csv.DictReader[str]"]:
    """The rows of a CSV with a header, as dictionaries.

    Args:
        path: The file.
        own: Names of columns, in lower case, that are known in any case and with blanks around them.
        strict: Refuse quotes that are wrong.

    Raises:
        OSError, csv.Error: See `opened`.
    """
    with opened(path) as (file, separator):
        reader = csv.DictReader(file, delimiter=separator, strict=strict)
        names = reader.fieldnames or []
        reader.fieldnames = [known if (known := name.strip().lower()) in own else name for name in names]
        yield reader
