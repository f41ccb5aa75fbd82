"""Writes docs/outputs.md and docs/cli.md from the code; `tests/docs/test_generated.py` compares.

python tests/docs/generate.py
"""

# Prefect's settings are made before it is imported.
# ruff: noqa: E402
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tasks.core.operations import environment

environment.prepare()

from tests.docs import cli_page, outputs_page


def generated() -> dict[Path, str]:
    """The generated pages by path."""
    return {
        ROOT / "docs" / "outputs.md": outputs_page.page(),
        ROOT / "docs" / "cli.md": cli_page.page(),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
