"""Names of classes, files and datasets as plain text where a program would read them as markup.

One function for each boundary: markdown (summaries, model cards, Prefect's artifacts), CSV files that people
open in a spreadsheet, the console, and pictures. HTML is escaped by the templates, and matplotlib is told in
`MATPLOTLIB` that text is no mathematics.
"""

import re
import unicodedata
from collections.abc import Sequence

MATPLOTLIB = {"text.parse_math": False, "text.usetex": False}
MARKDOWN = re.compile(r"[\\`*\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_])")
HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?%?")
LONGEST = 40  # characters of a name in a picture
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def markdown(text: object) -> str:
    r"""A text for markdown, which shows it as it is, on one line.

    >>> markdown("a|b <c>"), markdown("$x_1$")
    ('a\\|b &lt;c&gt;', '\\$x_1\\$')
    """
    line = " ".join(str(text).splitlines())
    return MARKDOWN.sub(lambda match: HTML.get(match[0], f"\\{match[0]}"), line)


def cell(text: str) -> str:
    """A cell of a CSV for people: an apostrophe goes before what a spreadsheet would calculate.

    >>> cell("=1+1"), cell("-0.5"), cell("cat")
    ("'=1+1", '-0.5', 'cat')
    """
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text


def text_of_cell(cell: str) -> str:
    """The text that `cell` was made from."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell


def printable(text: str) -> str:
    r"""A text for the console: control characters, which could steer the terminal, are shown as `\x1b`."""
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def is_utf8(text: str) -> bool:
    r"""Whether a path or an argument is text; bytes that are not UTF-8 are surrogates in it.

    >>> is_utf8("caf\u00e9"), is_utf8("caf\udce9")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_pictures(names: Sequence[str]) -> list[str]:
    """What stands for each name in a picture: the name, or its number if one of them cannot be drawn."""
    if are_numbered(names):
        return [str(number) for number in range(len(names))]
    lines = [" ".join(name.splitlines()).strip() or repr(name) for name in names]
    return [line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..." for line in lines]


def are_numbered(names: Sequence[str]) -> bool:
    """Whether a name has a letter that matplotlib's own font lacks, or that has to be joined or reversed."""
    from matplotlib import font_manager, ft2font  # imported here: it takes 0.5 s

    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    letters = set("".join(names)) - set("\n\r")
    return any(not font.get_char_index(ord(letter)) or _needs_shaping(letter) for letter in letters)


def legend(names: Sequence[str]) -> str:
    """Markdown below a picture with numbers for names; empty if the picture has the names."""
    if not are_numbered(names):
        return ""
    return "\n\n" + ", ".join(f"{number} = {markdown(name)}" for number, name in enumerate(names))


def _needs_shaping(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter)[0] in "MC"
