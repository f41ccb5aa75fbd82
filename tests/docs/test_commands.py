"""Every command line on the pages parses against the real commands; none is run."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks.orchestration.settings import SweepSettings, TrainRunSettings
from tests.docs import pages
from tests.docs.generated import cli_page
from tests.docs.pages import each_page, text_of

ROOT = pages.ROOT
SETTINGS = {"train": TrainRunSettings, "sweep": SweepSettings}
SHELL = re.compile(r"(?:\.venv/bin/)?(plumbline|python|make) ")


@cache
def plumbline_command() -> Any:
    """The click command of `plumbline`."""
    return cli_page.plumbline_command()


def parse(words: list[str], *, whole: bool = True) -> None:
    """Parse the words after `plumbline` as the command would, without running it.

    Args:
        words: Names of the command, then its arguments and options.
        whole: Whether all the arguments that the command needs must be there.
    """
    command, context = plumbline_command(), None
    while hasattr(command, "commands") and words:
        context = command.context_class(command, info_name=command.name, parent=context)
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    if whole:
        parsed = command.make_context(command.name, words, parent=context)
        if command.name in SETTINGS:
            parsed.params.pop("config")
            SETTINGS[command.name].of(parsed.params)  # refuses values out of range, and what excludes another
    else:
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def check_command(line: str, *, whole: bool = True) -> None:
    """Refuse a command line that Plumbline's commands, a benchmark or make would refuse."""
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        given = next((word[5:] for word in words[2:] if word.startswith("ARGS=")), "")
        if words[1] == "train":
            parse(["train", *shlex.split(given)])
        elif words[1].startswith("bench-"):
            check_benchmark(ROOT / "benchmarks" / f"{words[1][6:]}.py", shlex.split(given))
    elif program == "plumbline":
        parse(words[1:], whole=whole)
    elif len(words) > 1 and (flow := re.fullmatch(r"flows/(\w+)_flow\.py", words[1])):
        parse([flow[1], *words[2:]], whole=whole)
    elif len(words) > 1 and words[1].startswith("benchmarks/"):
        check_benchmark(ROOT / words[1], words[2:])


def check_benchmark(script: Path, words: list[str]) -> None:
    source = script.read_text(encoding="utf-8")
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


def command_lines(page: Path) -> Iterator[str]:
    """The lines of a page's shell blocks, and of its indented ones, that start a program of ours."""
    for block in pages.blocks(page):
        if block.language == "sh":
            yield from block.text.replace("\\\n", " ").splitlines()
    for line in text_of(page).replace("\\\n", " ").splitlines():
        if line.startswith("    "):
            yield line.strip()


@each_page
def test_command_lines_parse(page: Path) -> None:
    for line in command_lines(page):
        if SHELL.match(line):
            check_command(line)


@each_page
def test_commands_in_sentences_exist(page: Path) -> None:
    for command in re.findall(r"`([^`\n]+)`", text_of(page)):
        if SHELL.match(command):
            check_command(command, whole=False)


def test_a_wrong_command_is_noticed() -> None:
    for line in (
        *(
            "plumbline trian",
            "plumbline train --epoch 3",
            "plumbline train --recipe fat",
            "plumbline models show",
        ),
        *("python flows/train_flow.py --epochs many", 'make train ARGS="--fold 5"'),
        *("plumbline train --image-size 4", "plumbline train --workers 2"),
        "python benchmarks/training.py --folder x",
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - click's errors, or an assertion
            check_command(line)


def test_many_commands_are_checked() -> None:
    """A fence that is written differently must not drop out of these tests silently."""
    lines = [line for page in pages.PAGES for line in command_lines(page) if SHELL.match(line)]
    assert len(lines) >= 120
