"""The operating systems that Plumbline runs on, and their text: UTF-8."""

import os
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


def use_utf8() -> None:
    """Start the process again in Python's UTF-8 mode if names of files are not UTF-8 in its locale.

    Names on disk are UTF-8 in nearly every file system. In a locale such as de_DE.ISO-8859-1, or in C with
    PYTHONUTF8=0, Python would read a class `Bäume` as another name.
    """
    if sys.getfilesystemencoding() != "utf-8":
        utf8 = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, utf8, os.environ | {"PYTHONUTF8": "1"})
