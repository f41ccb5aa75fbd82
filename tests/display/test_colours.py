"""Colours are for a terminal, and not where NO_COLOR is set (https://no-color.org)."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tasks.core.errors import UsageError
from tests.support.run_cli import ROOT

PROGRAM = """
import logging
from tasks.core.errors import UsageError
from tasks.display import console
with console.command_context():
    console.facts("model", {"accuracy": "99.20 %"})
    console.table([{"path": "a.jpg", "class": "cat"}])
    logging.getLogger("plumbline").warning("two images were left out")
    raise UsageError("nothing was found")
"""
COLOUR = re.compile(r"\x1b\[[\d;]*3[0-7][\d;]*m")  # SGR 30 to 37
ESCAPE = "\x1b"


def shown(on_terminal: bool, **environment: str) -> str:
    """What the program writes to stdout and stderr."""
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    master, slave = pty.openpty()
    out = slave if on_terminal else subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=variables | {"TERM": "xterm-256color"} | environment,
        stdin=slave,
        stdout=out,
        stderr=out if on_terminal else subprocess.STDOUT,
    )
    os.close(slave)
    try:
        written = _read(master) if on_terminal else process.communicate()[0]
    finally:
        os.close(master)
    assert process.wait() == UsageError.exit_code
    return written.decode()


def _read(terminal: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the other end was closed
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


@pytest.mark.parametrize(
    ("on_terminal", "environment", "is_coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False)],
    ids=["terminal", "NO_COLOR", "pipe"],
)
def test_colours_are_for_a_terminal_without_no_color(
    on_terminal: bool, environment: dict[str, str], is_coloured: bool
) -> None:
    text = shown(on_terminal, **environment)
    assert "two images were left out" in text
    assert "nothing was found" in text
    assert bool(COLOUR.search(text)) == is_coloured
    assert (ESCAPE in text) == on_terminal  # bold is no colour
