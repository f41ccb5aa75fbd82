"""A notebook of a page: text as Markdown cells, blocks of commands and of Python as code cells."""

import json
import re
from pathlib import Path

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^```text\n.*?^```$\n?", re.MULTILINE | re.DOTALL)


def of_page(page: Path) -> str:
    """The notebook (nbformat 4.5) as JSON, without the outputs that the page shows: running it makes them."""
    text = SHOWN.sub("", page.read_text(encoding="utf-8"))
    cells, end = [], 0
    for match in BLOCK.finditer(text):
        cells.append(("markdown", text[end : match.start()]))
        lines = match[2].replace("\\\n", " ").splitlines()
        code = [f"!{line}" if match[1] == "sh" and line else line for line in lines]
        cells.append(("code", "\n".join(code)))
        end = match.end()
    cells.append(("markdown", text[end:]))
    written = [_cell(number, *cell) for number, cell in enumerate(cells) if cell[1].strip()]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": written,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, kind: str, text: str) -> dict[str, object]:
    cell: dict[str, object] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    cell["source"] = text.strip().splitlines(keepends=True)
    return cell if kind == "markdown" else cell | {"execution_count": None, "outputs": []}
