"""Names are text: in matplotlib, markdown, CSV files for people and the console."""

import csv
import io
import re
import warnings

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from tasks.core import markup
from tasks.core.reports import plots

HOSTILE = ("$", "$$", "$x^$", "<b>bold</b>", "[red]", "a|b", "two\nlines", "*", "_a_", "`", "![x](y)", "=1+1")


def test_confusion_matrix_draws_names_that_look_like_mathematics() -> None:
    """https://github.com/matplotlib/matplotlib/issues/20266: between two dollars is mathematics."""
    with warnings.catch_warnings(action="error"):
        assert plots.confusion_png(np.eye(12, dtype=np.int64), HOSTILE).startswith("data:image/png")


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        (("cat", "Кошка", "Größe", "γάτα", "x²"), False),
        *[((name, "dog"), True) for name in ("猫", "แมว", "बिल्ली", "고양이", "قط", "חתול", "🐈")],
    ],
)  # fmt: skip
def test_other_scripts_in_pictures_are_numbers_with_a_legend(names: tuple[str, ...], numbered: bool) -> None:
    assert markup.are_numbered(names) is numbered
    with warnings.catch_warnings(action="error"):
        plots.confusion_png(np.eye(len(names), dtype=np.int64), names)
    assert markup.legend(names) == (f"\n\n0 = {names[0]}, 1 = dog" if numbered else "")


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_the_name_on_one_line(name: str) -> None:
    text = markup.markdown(name)
    assert "\n" not in text
    assert not re.search(r"(?<!\\)[\\`*\[\]|$<>]", re.sub(r"\\(.)|&\w+;", "", text))
    plain = re.sub(r"\\(.)", r"\1", text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == name.replace("\n", " ")


def test_cells_are_no_formulas_and_are_read_back() -> None:
    names = ["=1+1", "+x", "-cat", "@a", "\tx", "cat", "-0.5", "+3", "1e-5", "'quoted'", "a=b"]
    buffer = io.StringIO()
    csv.writer(buffer).writerow(map(markup.cell, names))
    (cells,) = csv.reader(io.StringIO(buffer.getvalue()))
    assert cells[:5] == [f"'{name}" for name in names[:5]]
    assert cells[5:] == names[5:]
    assert [markup.text_of_cell(cell) for cell in cells] == names


def test_console_shows_control_characters() -> None:
    console = Console(file=io.StringIO(), markup=False)
    console.print(Text(markup.printable("a\x1b[31mred\x07 [b]")))
    assert console.file.getvalue() == "a\\x1b[31mred\\x07 [b]\n"
