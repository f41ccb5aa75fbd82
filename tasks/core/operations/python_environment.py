"""A Python environment with the package versions of an earlier run."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tasks.core.errors import NetworkError
from tasks.core.operations import provenance

NOT_INSTALLED = ("plumbline", "pip")  # the code comes from the checkout; pip only installs
SHOWN = 3  # lines of pip that a message shows


def differences(python: str, versions: Mapping[str, str]) -> list[str]:
    """Where this environment is not the recorded one, as phrases; further packages here do not count.

    Args:
        python: The recorded version of Python; empty if it was not recorded.
        versions: The recorded versions, by distribution.
    """
    here = provenance.distributions()
    found = [
        f"{name} {version} -> {here.get(name, 'not installed')}"
        for name, version in versions.items()
        if name not in NOT_INSTALLED and here.get(name) != version
    ]
    running = provenance.python()
    return ([f"Python {python} -> {running}"] if python and python != running else []) + found


def create(folder: Path, python: str, versions: Mapping[str, str], *, complete: bool) -> Path:
    """Create a virtual environment and install the versions with pip.

    Pip's own settings hold: PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, ...

    Args:
        folder: A folder that does not exist.
        python: The recorded version of Python. An interpreter of this minor version on the PATH is taken if
            there is one, otherwise the running one.
        versions: The recorded versions, by distribution.
        complete: Whether these are all packages. Otherwise pip adds what they require, in present versions.

    Returns:
        The environment's interpreter.

    Raises:
        NetworkError: The environment could not be made, or pip could not install the versions.
    """
    made, requirements = folder / "bin" / "python", folder / "requirements.txt"
    pins = [f"{name}=={version}" for name, version in versions.items() if name not in NOT_INSTALLED]
    _run(pins, interpreter_of(python), "-m", "venv", str(folder))
    requirements.write_text("\n".join(pins) + "\n", encoding="utf-8")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    install += [*(["--no-deps"] if complete else []), "--requirement", str(requirements)]
    _run(pins, str(made), *install)
    return made


def interpreter_of(python: str) -> str:
    """The interpreter to create an environment with; see `create`."""
    minor = ".".join(python.split(".")[:2])
    if not minor or minor == ".".join(provenance.python().split(".")[:2]):
        return sys.executable
    return shutil.which(f"python{minor}") or sys.executable


def _run(pins: list[str], *command: str) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode == 0:
        return
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    raise NetworkError(
        "the packages of the run could not be installed",
        expected=f"{len(pins)} packages that pip finds, such as {pins[0] if pins else 'none'}",
        found=" / ".join(said[-SHOWN:]) or f"exit code {done.returncode}",
        done=f"{' '.join(command[1:4])} failed in a new environment, which was removed; nothing was trained",
        todo="give pip a network, or a folder of wheels with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER",
    )
