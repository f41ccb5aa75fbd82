"""Writes pages from the code and from results of benchmarks; `tests/docs/test_generated.py` compares.

python tests/docs/generate.py
"""

# Prefect's settings are made before it is imported.
# ruff: noqa: E402
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tasks.core.operations import environment

environment.prepare()

from benchmarks import result_pages
from tests.docs.generated import cli_page, notebook, outputs_page


def contributing() -> str:
    """docs/contributing.md: CONTRIBUTING.md with links that hold on the site."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return (
        re.sub(r"\]\(docs/", "](", text)
        .replace("[CHANGELOG.md](CHANGELOG.md)", "`CHANGELOG.md`")
        .replace("[Apache-2.0](LICENSE)", "Apache-2.0")
    )


def with_results() -> dict[Path, str]:
    """The pages that quote benchmarks, with the tables of benchmarks/results/."""
    results = result_pages.load()
    names = sorted({page for result in results.values() for page in result["pages"]})
    pages = {
        ROOT / name: result_pages.with_tables((ROOT / name).read_text(encoding="utf-8"), name, results)
        for name in names
    }
    quick = json.loads((result_pages.RESULTS / result_pages.QUICK).read_text(encoding="utf-8"))
    return pages | {ROOT / "docs" / "quick-benchmarks.md": result_pages.quick_page(quick)}


def generated() -> dict[Path, str]:
    """The generated pages by path."""
    return {
        ROOT / "docs" / "outputs.md": outputs_page.page(),
        ROOT / "docs" / "cli.md": cli_page.page(),
        ROOT / "docs" / "contributing.md": contributing(),
        ROOT / "docs" / "cifar10.ipynb": notebook.of_page(ROOT / "docs" / "cifar10.md"),
    } | with_results()


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
