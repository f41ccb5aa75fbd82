"""`plumbline reproduce`: repeat a past run in a scratch workspace and compare the results."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.core.errors import UsageError
from tasks.core.operations import code_checkout, python_environment
from tasks.core.operations.command_line import options
from tasks.core.runs import explain
from tasks.core.runs.reproduce import (
    check_images,
    folder_of_paths,
    judge,
    lend_downloads,
    parameters,
    recorded_environment,
)
from tasks.core.stage import code_hash
from tasks.core.storage.workspaces import open_existing
from tasks.core.workspace import Workspace
from tasks.display import console

SCRIPT = "flows/train_flow.py"
SHOWN = 5  # differences of packages that are printed


@dataclass(frozen=True)
class Code:
    """What repeats the run.

    Args:
        root: The folder with the code.
        python: The interpreter.
        environment: Environment variables besides those of this process.
    """

    root: Path = code_hash.ROOT
    python: str | Path = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


def reproduce(
    run: str = "last", workspace: Path | None = None, margin: float = 1.0, checkout: bool = False
) -> None:
    """Repeat a past run from its parameters; the result is identical, within noise, or not reproduced.

    Within noise is what is proven: the 95 % interval of the difference of accuracies on the same test images
    lies within the margin. Not reproduced (exit code 3): it does not, and it excludes 0. Otherwise it cannot
    be told (exit code 4): the test images are too few. The run uses a scratch workspace that is removed
    afterwards; nothing in the workspace changes.

    Args:
        run: A run's id (`plumbline compare --columns run_id`), or "last".
        workspace: The workspace of the run: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
        margin: The largest difference that counts as noise, in points of accuracy, above 0 to 100.
        checkout: Repeat it with the code of the run's commit and, if other package versions are installed,
            in a new environment with the recorded ones, which pip installs.
    """
    if not 0 < margin <= 100:
        raise UsageError("margin must be above 0 and at most 100", found=f"{margin:g}")
    opened = open_existing(workspace)
    past = explain.run_of(run, opened)
    check_images(past, called_in := folder_of_paths(past))
    with tempfile.TemporaryDirectory(prefix="plumbline-reproduce-") as folder:
        scratch = Workspace(Path(folder) / "workspace")
        code = bring_back(past, Path(folder)) if checkout else Code()
        lend_downloads(opened, scratch)
        if exit_code := repeat(code, parameters(past), scratch, called_in):
            sys.exit(exit_code)
        result = judge(past, opened, scratch, margin / 100)
    removed = "the scratch workspace, with the model and the report that are named above"
    console.facts(f"{past['run_id']}: {result.outcome}", {"because": result.reason, "removed": removed})
    for difference in result.differences:
        console.console.print(f"  differs  {difference}")
    if result.outcome.exit_code:
        sys.exit(result.outcome.exit_code)


def bring_back(run: Mapping[str, Any], folder: Path) -> Code:
    """Check out the commit of a run, and create an environment with its packages unless they are installed.

    Args:
        run: The run's row of the runs table.
        folder: An existing folder for both.

    Raises:
        UsageError: The commit cannot be checked out.
        NetworkError: The packages cannot be installed.
    """
    root, recorded = folder / "code", recorded_environment(run)
    notes = code_checkout.check_out(run["git_commit"], root)
    if not notes and code_hash.source_digest(root) != run["source"]:
        notes = ["the files of the commit are not those that the run had"]
    changed = python_environment.differences(recorded.python, recorded.versions)
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    listed = ", ".join(changed[:SHOWN]) + more
    packages = f"a new environment, because of {listed}" if changed else "those installed here: the same"
    facts = {"commit": f"{run['git_commit']}", "packages": packages}
    console.facts(f"{run['run_id']}: repeating it with", facts | ({"but": "; ".join(notes)} if notes else {}))
    variables = {"PYTHONPATH": str(root)}
    if not changed:
        return Code(root, environment=variables)
    made = python_environment.create(
        folder / "environment", recorded.python, recorded.versions, complete=recorded.complete
    )
    # Another version of Prefect cannot use the database of the one that is installed here.
    return Code(root, made, variables | {"PREFECT_HOME": str(folder / "prefect")})


def repeat(code: Code, arguments: Mapping[str, Any], scratch: Workspace, folder: Path) -> int:
    """Repeat a run in a scratch workspace, as if called in a folder; returns the exit code."""
    command = [str(code.python), str(code.root / SCRIPT), *options(arguments)]
    environment = {**os.environ, **code.environment}
    done = subprocess.run(
        [*command, "--workspace", str(scratch.root)], cwd=folder, env=environment, check=False
    )
    return done.returncode
