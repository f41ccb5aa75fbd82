"""The operating systems that Plumbline runs on."""

import sys

from tasks.core.errors import UsageError


def check(platform: str = sys.platform) -> None:
    """Refuse native Windows, which lacks flock and getrusage.

    Raises:
        UsageError: The platform is Windows.
    """
    if platform == "win32":
        raise UsageError(
            "Plumbline does not run on native Windows",
            expected="Linux (tested), macOS (not tested), or Windows with WSL, which is Linux",
            found="native Windows: it has no file locks of the kind that keep two runs apart (flock)",
            done="nothing was started",
            todo="install WSL (`wsl --install`), and start Plumbline in its Linux shell",
        )
