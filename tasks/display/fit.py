"""Fits lines to the width of a terminal; words are never broken."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

LEAST = 40  # columns; a narrower terminal wraps lines itself
COLUMNS = re.compile(r"(.*\S) {2,}(\S.*)")  # a text and what stands at the right margin


def wrapped(line: str, width: int, indent: int) -> str:
    """A line in as many lines as it needs; what stands at its right margin stays there.

    A word that is longer than the width, such as a path, has a line of its own, so that it can be copied.

    Args:
        line: Text without line breaks.
        width: Columns of the terminal.
        indent: Columns before the second line and those after it.
    """
    if len(line) <= width or width < LEAST:
        return line
    head, body = line[:indent], line[indent:]
    parts = COLUMNS.fullmatch(body)
    text, margin = (parts[1], parts[2]) if parts else (body, "")
    if margin and len(text) + 2 + len(margin) > width - indent:
        text, margin = f"{text}  {margin}", ""
    if margin:
        return f"{head}{text}{margin:>{width - indent - len(text)}}"
    return textwrap.fill(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def records(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Rows as lines of name and value, with an empty line between two rows; empty values are left out."""
    names = max(len(name) for row in rows for name in row)
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield from (f" {name:<{names}}  {text}" for name, text in row.items() if text)


def indent_of(record: str) -> int:
    """Where the value of a line of `records` begins."""
    found = re.match(r" .*?\S {2,}", record)
    return found.end() if found else 0
