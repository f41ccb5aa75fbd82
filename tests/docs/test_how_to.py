"""Each how-to is applied to a copy of the code, word for word, and does there what it promises."""

import hashlib
import html
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from tests.docs import pages
from tests.support.run_cli import Plumbline
from tests.support.sample_files import mnist

pytestmark = pytest.mark.slow

HOW_TO = pages.ROOT / "docs" / "how-to"
CATALOG, FACTORY = "tasks/core/data/sources/catalog.py", "tasks/core/data/readers/factory.py"
TOUCHED = {
    "backbone": {"tasks/core/model/backbones/catalog.py"},
    "dataset": {CATALOG},
    "input-format": {FACTORY, "tasks/core/data/readers/npz.py"},
    "metric": {"tasks/core/metrics/declared/declarations.py"},
    "recipe": {"tasks/core/config.py", "tasks/core/recipes.py"},
    "stage": {
        "flows/pipeline.py",
        "tasks/core/data/audit/mean_images.py",
        "tasks/core/stage/stages.py",
        "tasks/mean_images.py",
    },
}
# The stages that the page says run again for existing workspaces.
RUN_AGAIN: dict[str, set[str]] = {page: set() for page in TOUCHED} | {
    "metric": {"evaluate", "label_issues", "report", "score_version", "evaluation_report"}
}
# What decides the outputs of existing workspaces, apart from their data and what the user sets.
INGREDIENTS = """
import json
from dataclasses import asdict
from tasks.core.data.readers.factory import READERS
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.model.backbones.catalog import BACKBONES
from tasks.core.recipes import RECIPES
from tasks.core.stage import code_hash
from tasks.core.stage.stages import PARTS, STAGES

parts = {stage.name: stage for stage in (*STAGES, *PARTS)}
parts |= {f"normalize, {name}": reader for name, reader in READERS.items()}
record = {name: [code_hash.hashes(*part.modules), part.libraries] for name, part in parts.items()}
record |= {f"train with {name}": recipe.parameters() for name, recipe in RECIPES.items()}
record |= {f"embed with {name}": asdict(backbone) for name, backbone in BACKBONES.items()}
record |= {f"download {name}": asdict(dataset) for name, dataset in DATASETS.items()}
print(json.dumps([str(code_hash.ROOT), record]))
"""
NORMALIZE = """
import json, sys
from pathlib import Path
from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.cache import open_split
from tasks.core.data.tensors.normalize import normalize
from tasks.core.workspace import Workspace

dataset, archive, sha256 = sys.argv[2:]
workspace = Workspace.open(sys.argv[1])
raw = acquire(SourceSettings(dataset, Path(archive) if archive else None, sha256 or None), workspace)
tensors = normalize(raw, NormalizeSettings(), workspace)
print(json.dumps([raw.images, tensors.classes, tensors.shape, tensors.train, tensors.val, tensors.test]))
"""

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def run_python(root: Path, *arguments: object) -> str:
    """Run Python in a copy of the code; gives what it printed."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ingredients(root: Path) -> dict[str, Any]:
    """What decides the outputs, by stage, reader, recipe and dataset."""
    imported_from, record = json.loads(run_python(root, "-c", INGREDIENTS))
    assert imported_from == str(root)
    return dict(record)


def changed(before: dict[str, Any], root: Path) -> set[str]:
    """Names of what exists and has other ingredients than before."""
    after = ingredients(root)
    assert set(before) <= set(after)
    return {name for name in before if before[name] != after[name]}


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    return ingredients(pages.ROOT)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code to which all how-tos are applied."""
    root = pages.copy_code(tmp_path_factory.mktemp("how-to") / "code")
    for page in TOUCHED:
        pages.apply(HOW_TO / f"{page}.md", root)
    return root


def test_every_how_to_is_tested() -> None:
    assert {path.stem for path in HOW_TO.glob("*.md")} == set(TOUCHED)


@pytest.mark.parametrize("page", TOUCHED)
def test_how_to_touches_few_files_and_makes_only_the_named_stages_run_again(
    page: str, before: dict[str, Any], tmp_path: Path
) -> None:
    root = pages.copy_code(tmp_path / "code")
    assert pages.apply(HOW_TO / f"{page}.md", root) == TOUCHED[page]
    assert changed(before, root) == RUN_AGAIN[page]
    section = (HOW_TO / f"{page}.md").read_text(encoding="utf-8").partition("## What runs again\n\n")[2]
    assert "architecture.md#what-makes-a-stage-run-again" in section
    assert section.startswith("Nothing" if not RUN_AGAIN[page] else "evaluate, label_issues and report")


def test_code_of_the_how_tos_passes_the_checks_and_its_own_tests(copy: Path) -> None:
    files = {block.title for page in HOW_TO.glob("*.md") for block in pages.blocks(page)} - {""}
    run_python(copy, "-m", "ruff", "format", "--check", "--no-cache", *files)
    run_python(copy, "-m", "ruff", "check", "--no-cache", *files)
    run_python(copy, "-c", LINT_IMPORTS, "--no-cache")
    assert "6 passed" in run_python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core")


def test_dataset_how_to_downloads_and_normalizes(copy: Path, tmp_path: Path) -> None:
    archive = mnist(tmp_path / "files", train=40, test=10)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(archive.iterdir())
    ]
    sha256 = hashlib.sha256("".join(sums).encode()).hexdigest()
    printed = run_python(copy, "-c", NORMALIZE, tmp_path / "workspace", "kmnist", archive, sha256)
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    images, *facts, train, val, test = json.loads(printed)
    assert (images, facts) == (50, [classes, [28, 28, 1]])
    assert (train + val, test) == (40, 10)


def test_input_format_how_to_refuses_a_file_with_other_arrays(copy: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "floats.npz", images=np.zeros((4, 8, 8)), labels=[0, 1, 0, 1], class_names=["a", "b"])
    arguments = [tmp_path / "workspace", tmp_path / "floats.npz", "", ""]
    with pytest.raises(AssertionError, match="has other arrays"):
        run_python(copy, "-c", NORMALIZE, *arguments)


@dataclass(frozen=True)
class TinyRun:
    """A run of the digits with the code of all how-tos.

    Args:
        plumbline: Starts further runs.
        printed: What the run printed.
    """

    plumbline: Plumbline
    printed: str

    def file(self, pattern: str) -> Path:
        """The only file of the workspace that the pattern matches."""
        (path,) = self.plumbline.workspace.glob(pattern)
        return path


@pytest.fixture(scope="module")
def tiny_run(copy: Path, server: dict[str, str]) -> TinyRun:
    plumbline = Plumbline(server, copy.parent / "workspace", copy)
    return TinyRun(plumbline, plumbline.ok("--recipe", "tiny", "--epochs", "1"))


def test_recipe_how_to_trains_with_the_new_recipe(tiny_run: TinyRun) -> None:
    run = tiny_run.plumbline.runs().iloc[-1]
    assert run["recipe"] == "tiny"
    parameters = json.loads(tiny_run.file("training/*/manifest.json").read_bytes())["ingredients"][
        "parameters"
    ]
    assert parameters["block_widths"] == [[8], [16, 32]]


def test_stage_how_to_shows_the_stage_and_reuses_its_output(tiny_run: TinyRun) -> None:
    lines = tiny_run.printed.splitlines()
    stages = [line.split()[0] for line in lines if line.strip()]
    assert stages.index("normalize") < stages.index("mean_images") < stages.index("audit")
    run = tiny_run.plumbline.runs().iloc[-1]
    assert json.loads(run["stages"])["mean_images"]["state"] == "ran"
    cache = tiny_run.file("tensors/*/train.images.npy").parent
    images, labels = np.load(cache / "train.images.npy"), np.load(cache / "train.labels.npy")
    for label in range(10):
        mean = np.asarray(Image.open(tiny_run.file(f"mean_images/*/{label}.png")))
        np.testing.assert_allclose(mean, images[labels == label].mean(axis=0)[..., 0], atol=0.501)
    forecast = tiny_run.plumbline.ok("--recipe", "tiny", "--epochs", "1", "--dry-run")
    (row,) = [line for line in forecast.splitlines() if "mean_images" in line]
    assert "reuse" in row
    explained = tiny_run.plumbline.run(
        "flows/__main__.py", "explain", "last", "--workspace", tiny_run.plumbline.workspace
    )
    assert "mean_images" in explained.stdout, explained.stderr


def test_metric_how_to_shows_the_metric_in_every_place(tiny_run: TinyRun) -> None:
    table = pd.read_parquet(tiny_run.plumbline.workspace / "metrics" / "predictions")
    test = table[table["split"] == "test"]
    kappa = json.loads(tiny_run.file("evaluations/*/metrics.json").read_bytes())["test"]["kappa"]
    assert kappa["value"] == pytest.approx(cohen_kappa_score(test["label"], test["predicted_label"]))
    assert kappa["low"] <= kappa["value"] <= kappa["high"]
    page = html.unescape(tiny_run.file("reports/*/report.html").read_text())
    assert "Cohen's kappa" in page
    assert f"{kappa['value']:.4f}" in page
    assert "| Cohen's kappa |" in tiny_run.file("models/digits/v0001/model_card.md").read_text()
    row = tiny_run.plumbline.runs().iloc[-1]
    assert [row[f"test_kappa{end}"] for end in ("", "_low", "_high")] == [
        kappa[name] for name in ("value", "low", "high")
    ]
    assert "Cohen's kappa" in tiny_run.file("reports/*/summary.md").read_text()
    compared = run_python(
        tiny_run.plumbline.workspace.parent / "code",
        *("-m", "flows", "compare", "--workspace", tiny_run.plumbline.workspace),
    )
    assert "test_kappa" in compared
