"""Provenance of a run: code, packages, machine."""

import getpass
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tasks.core import __version__
from tasks.core.stage import code_hash

PACKAGES = (
    *("tensorflow", "keras", "numpy", "pandas", "pyarrow", "pillow", "simplejpeg"),
    *("scikit-learn", "scipy", "matplotlib", "jinja2", "prefect"),
)


def facts() -> dict[str, Any]:
    """Return the git commit, package versions, Python and machine, for manifests and tables; JSON values."""
    return {
        "plumbline": __version__,
        "git_commit": git_commit(),
        "source": code_hash.source_digest(),
        "packages": packages(),
        "python": python(),
        "platform": platform.platform(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }


def packages() -> dict[str, str]:
    """Return the installed versions of the libraries that decide a run's results."""
    return code_hash.libraries(*PACKAGES)


def distributions() -> dict[str, str]:
    """Return the versions of all installed distributions by their normalized name, sorted."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():  # in the order of sys.path: the first is imported
        described = distribution.metadata  # parsed anew at each access
        found.setdefault(canonicalize_name(described["Name"]), described["Version"])
    return dict(sorted(found.items()))


def python() -> str:
    """Return the version of Python, such as "3.11.4"."""
    return platform.python_version()


def who() -> str:
    """Return the name of the user who runs this process, for logs; "user <uid>" if the system has no name."""
    try:
        return getpass.getuser().encode("utf-8", "backslashreplace").decode()  # USER may have any bytes
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def git_commit(root: Path = code_hash.ROOT) -> str:
    """Return the git commit, with "-dirty" if tracked files differ; empty outside a git checkout."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


def _processor() -> str:
    """Return the name of the processor: from /proc/cpuinfo on Linux, else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
