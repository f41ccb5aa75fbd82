"""Output that nobody reads, or that cannot be written: `plumbline config show | head -1`, `> /dev/full`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.run_cli import ROOT

COMMANDS = [("config", "show"), ("--version",), ("train", "--help")]


def stderr_of(words: tuple[str, ...], stdout: int) -> str:
    """What a command that cannot write to stdout prints to stderr; it ends with 1."""
    done = subprocess.run(
        [sys.executable, "-m", "flows", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_that_went_away_ends_the_command_without_a_word(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert stderr_of(words, writing) == ""
    finally:
        os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it is there on Linux")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_disk_behind_stdout_is_one_message(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        assert stderr_of(words, full.fileno()).startswith("error: the disk is full\n")
