"""The code of an earlier commit, in a folder of its own.

It is a clone that borrows the objects of the repository: it takes no network and little space, git knows its
commit, and the repository itself gets no branch and no worktree that a killed process would leave behind.
"""

import re
import subprocess
from pathlib import Path

from tasks.core.errors import UsageError
from tasks.core.stage import code_hash

DIRTY = "-dirty"  # what `provenance.git_commit` appends if tracked files differed


def check_out(commit: str, folder: Path, repository: Path = code_hash.ROOT) -> list[str]:
    """Put the files of a commit into a folder.

    Args:
        commit: The commit as a run recorded it; empty if it recorded none.
        folder: A folder that does not exist.
        repository: The checkout whose repository has the commit.

    Returns:
        What the files lack of the code that the run had, as sentences; empty if the commit was clean.

    Raises:
        UsageError: There is no commit, or git cannot check it out.
    """
    name = (commit or "").removesuffix(DIRTY)
    if not re.fullmatch(r"[0-9a-f]{7,64}", name):
        raise UsageError(
            "the run's code cannot be checked out",
            expected="a run from a git checkout, which records its commit",
            found=f"the commit {commit!r}" if commit else "a run without a commit",
            done="nothing was started",
            todo="leave out --checkout: the run is then repeated with the code that is installed",
        )
    _git(name, repository, "clone", "--quiet", "--shared", "--no-checkout", str(repository), str(folder))
    _git(name, folder, "checkout", "--quiet", "--detach", name)
    if commit.endswith(DIRTY):
        return [f"the run's code had changes that were not committed; commit {name[:12]} lacks them"]
    return []


def _git(commit: str, root: Path, *arguments: str) -> None:
    try:
        subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise UsageError(
            f"commit {commit[:12]} cannot be checked out",
            expected=f"a git repository in {root} that has the commit",
            found=said.splitlines()[-1] if said else "git failed",
            done="nothing was started",
            todo="fetch the commit into this repository, or leave out --checkout",
        ) from error
