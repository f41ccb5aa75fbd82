"""The first run of docs/getting-started.md: what it prints and writes is what the pages show."""

import re
from pathlib import Path

import pytest
from pyarrow import parquet

from tasks.core import __version__
from tests.docs import pages
from tests.docs.generated import outputs_page, workspace_tree


def normalised(printed: str) -> tuple[list[str], list[float]]:
    """The lines without what differs between two runs, and the percentages."""
    lines = [line.rstrip() for line in printed.strip().splitlines() if not line.startswith("  epoch")]
    text = "\n".join([re.sub(r":.*", ": ...", lines[0]), *lines[1:]])
    text = re.sub(r"\S*/workspace/", "workspace/", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "<digest>", text)
    text = re.sub(r" +[\d.]+ (?:s|ms|m \d+ s)$", " <time>", text, flags=re.MULTILINE)
    share = re.compile(r"\d+\.\d+(?= ?%)|(?<=interval )\d+\.\d+|(?<=to )\d+\.\d+(?=\))|(?<=macro-F1 )\d\.\d+")
    return share.sub("<share>", text).splitlines(), [float(value) for value in share.findall(text)]


def check_that_outputs_are_described(workspace: Path) -> None:
    """Compare a workspace with the tree and the columns in docs/outputs.md."""
    folders = {path.name for path in workspace.iterdir() if not path.name.startswith(".")}
    assert folders <= {path.partition("/")[0] for path in workspace_tree.TREE}
    for folder in workspace_tree.TREE:
        if folder.endswith("/<digest>/"):
            written = {path.name for path in workspace.glob(f"{folder.partition('/')[0]}/[0-9a-f]*/*")}
            assert written - {"manifest.json"} <= workspace_tree.files_in(folder)
    (issues,) = workspace.glob("label_issues/*/label_issues.parquet")
    assert parquet.read_schema(issues).names == list(outputs_page.ISSUES)


def check_what_is_shown(printed: str) -> None:
    """Compare what `plumbline train` prints with docs/getting-started.md; percentages may differ by 2."""
    blocks = pages.blocks(pages.ROOT / "docs" / "getting-started.md")
    number = next(n for n, block in enumerate(blocks) if block.language == "text")
    command, shown = blocks[number - 1].text.split(), blocks[number].text
    assert command == ["plumbline", "train"]
    version = re.match(r"plumbline ([\d.]+): train", shown)
    assert version is not None
    assert version[1] == __version__
    lines, shares = normalised(printed)
    shown_lines, shown_shares = normalised(shown)
    assert shown_lines == lines
    assert shown_shares == pytest.approx(shares, abs=2)
