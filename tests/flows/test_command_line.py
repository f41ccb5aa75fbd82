"""The command `plumbline`: help, imports, `--config`, and what is refused before a server starts."""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from flows import __main__ as command_line
from flows import config_file
from flows.commands import config
from flows.declarations import FLOWS
from tasks.core import __version__, platforms
from tasks.core.config import RecipeName
from tasks.core.errors import UsageError
from tasks.core.recipes import RECIPES
from tests.support.run_cli import ROOT
from tests.support.sample_files import photos

HEAVY = ("prefect", "pandas", "tensorflow", "numpy", "pyarrow")


def plumbline(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "flows", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Help


def each_command(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, also those of a group."""
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from each_command(child, (*words, name))


APP = command_line.app(tuple(command_line.ADDERS))
COMMANDS = dict(each_command(typer.main.get_command(APP)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_at_80_columns_cuts_nothing_off(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(APP, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "…" not in shown.output
    found = set(shown.output.replace("│", " ").split())
    command = COMMANDS[words]
    texts = [command.help or "", command.epilog or "", *(each.help or "" for each in command.params)]
    names = [name for each in command.params for name in (*each.opts, *each.secondary_opts)]
    texts += [name for name in names if name.startswith("--")]
    wanted = {word for text in texts for word in text.split()}
    assert wanted - found == set()


def test_every_flow_ends_its_help_with_examples_that_fit() -> None:
    for name, flow in FLOWS.items():
        assert flow.examples
        assert {" ".join(line.split()[:2]) for line in flow.examples} == {f"plumbline {name}"}


def test_overview_has_every_command_with_its_own_summary(tmp_path: Path) -> None:
    assert set(command_line.SUMMARIES) <= set(command_line.ADDERS)
    shown = plumbline("--help", folder=tmp_path).stdout
    for name, (heading, summary) in command_line.SUMMARIES.items():
        assert heading in shown
        assert f"│ {name:<10} {summary}" in shown


def test_quick_commands_import_no_large_library(tmp_path: Path) -> None:
    commands = [["--help"], ["--version"], ["models", "list"], ["train", "--help"], ["predict", "--help"]]
    code = (
        "import sys; from flows.__main__ import main\n"
        f"for words in {commands!r}:\n"
        "    sys.argv[1:] = words\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code\n"
        f"    assert [name for name in {HEAVY!r} if name in sys.modules] == [], words\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"plumbline {__version__}\n" in done.stdout


# --config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A TOML file of options."""
    path = tmp_path / "run.toml"
    lines = [
        'recipe = "flash"',
        "epochs = 2",
        'no_loss_of = ["a", "b"]',
        "drop_leaks = true",
        "augment = false",
    ]
    path.write_text("\n".join(lines))
    return path


def test_options_of_a_file_stand_before_those_that_were_typed(file: Path) -> None:
    assert config_file.expanded("train", ["--config", str(file), "--seed", "3"]) == [
        *("--recipe", "flash", "--epochs", "2", "--no-loss-of", "a", "--no-loss-of", "b"),
        *("--drop-leaks", "--no-augment", "--seed", "3"),
    ]


@pytest.mark.parametrize(
    ("typed", "gone"),
    [(["--epochs=1"], "2"), (["--augment"], "--no-augment"), (["--no-loss-of", "c"], "a")],
)
def test_typed_options_replace_those_of_the_file(file: Path, typed: list[str], gone: str) -> None:
    words = config_file.expanded("train", [f"--config={file}", *typed])
    assert gone not in words
    assert words[-len(typed) :] == typed


def test_yaml_is_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("learning-rate: 0.5\nname: null\n")
    assert config_file.expanded("sweep", ["--config", str(path)]) == ["--learning-rate", "0.5"]
    path.write_text("positive: no\n")  # a class of this name, which YAML reads as false
    with pytest.raises(UsageError, match="into quotes"):
        config_file.expanded("train", ["--config", str(path)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 2", "did you mean epochs?"),
        ("drop_leaks = 1", "expected  true or false"),
        ("epochs = [1, 2]", "expected  one value"),
        ("epochs = true", "expected  one value"),
        ("[train]\nepochs = 2", "is no option of train"),
        ("epochs", "cannot be read"),
        ("epochs = " + "[" * 5_000, "cannot be read"),
        ("epochs = 0x" + "f" * 6_000, "a number of too many digits"),
        ('images = ["a.jpg"]', "is no option of train"),
    ],
)
def test_wrong_files_are_refused_with_a_way_out(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        config_file.expanded("train", ["--config", str(path)])
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        pytest.param("run.yaml", "epochs: 1\nseed: 1\nepochs: 2\n", "more than once: epochs", id="YAML"),
        pytest.param("run.yaml", "no_loss_of: [7, 010]\n", "010 is another value in YAML", id="octal"),
        pytest.param("run.yaml", "name: 2026-01-31\n", "2026-01-31 is another value in YAML", id="date"),
        pytest.param(
            "run.toml", "image-size = 16\nimage_size = 32\n", "image-size and image_size", id="dash"
        ),
    ],
)
def test_config_with_an_option_that_is_ambiguous_is_refused(
    tmp_path: Path, name: str, text: str, found: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = plumbline("train", "--config", name, "--dry-run", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"found     {found}" in done.stderr


@pytest.mark.parametrize(("name", "text"), [("run.toml", "seed = 3"), ("run.yaml", "seed: 3")])
def test_config_of_a_windows_editor_is_read(tmp_path: Path, name: str, text: str) -> None:
    """It begins with a byte-order mark."""
    (tmp_path / name).write_text(text + "\r\n", encoding="utf-8-sig", newline="")
    assert config_file.expanded("train", ["--config", str(tmp_path / name)]) == ["--seed", "3"]


@pytest.mark.parametrize("path", ["", "~nobody-of-that-name/run.toml", "gone.toml"])
def test_config_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config_file.expanded("train", ["--config", path, "--dry-run"])


@pytest.mark.parametrize("command", FLOWS)
def test_config_show_prints_a_file_that_config_takes_back(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.show(command, RecipeName.fast)
    text = capsys.readouterr().out
    path = tmp_path / "run.toml"
    path.write_text(text)
    declared = config_file.option_parameters(command)
    assert [each.name for each in declared if f"{each.name} =" not in text] == []
    words = config_file.expanded(command, ["--config", str(path)])
    names = {each.name for each in declared if each.default is not None and each.default is not False}
    assert {word[2:].replace("-", "_") for word in words if word.startswith("--")} == names
    assert tomllib.loads(text).get("recipe") == ("fast" if command in ("train", "sweep") else None)
    of_recipe = f"# learning_rate = {RECIPES[RecipeName.fast].learning_rate}\n"
    assert (of_recipe in text) == (command in ("train", "sweep"))


# Refused at once


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back the handlers that a command sets."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--image-size", "1000"], "image_size must lie in 8..512"),
        (["train", "--config", "a.toml"], "did you mean epochs?"),
        (["predict", "nothing.jpg"], "nothing.jpg does not exist"),
        (["predict", "pets"], "no model in "),
        (["predict", "pets", "--label-next", "2000"], "label_next must lie in 0..1000"),
        (["train", "--dataset", "absent.csv"], f"nothing at {os.sep}"),
        (["evaluate", "pets", "--workspace", "gone"], "name another one with --workspace"),
        (["train", "--exports", "onnx", "--dataset", "pets"], "has only one class"),
        (["sweep", "--vary", "epochs=1..3"], "epochs has a range"),
        (["evaluate", "pets", "--split", "tset"], "there is no such split"),
        (["train", "--dataset", "icons"], "at least 4 of 4 images cannot be used"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_is_wrong_is_said_before_a_server_starts(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.toml").write_text("epoch = 2")
    photos(tmp_path / "pets", {"cat": 1})
    photos(tmp_path / "icons", {"a": 2, "b": 2}, size=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUMBLINE_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # a server that nobody may ask for
    monkeypatch.setattr(sys, "argv", ["plumbline", *words])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert end.value.code in (1, 2)


def test_windows_is_told_of_wsl() -> None:
    with pytest.raises(UsageError, match="does not run on native Windows") as refused:
        platforms.check("win32")
    assert "wsl --install" in str(refused.value)
    platforms.check("darwin")


ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}


def test_names_are_utf8_in_a_locale_that_is_not(tmp_path: Path) -> None:
    """Before, the folder's name was called not UTF-8, or was another name in a locale such as Latin-1's."""
    photos(tmp_path / "Bäume", {"größe": 3})
    command = [sys.executable, "-m", "flows", "train", "--dataset", "Bäume", "--workspace", "w"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | ASCII_LOCALE, capture_output=True, check=False
    )
    assert "one: größe" in done.stderr.decode()


def test_a_name_that_python_misreads_is_refused_outside_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "Bäume").mkdir()
    code = (
        "from pathlib import Path; from tasks.core.data.files.file_stats import refuse_odd_names;"
        "refuse_odd_names(Path('.'), [path.name for path in Path('.').iterdir()])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | ASCII_LOCALE, capture_output=True, check=False
    )
    assert b"set PYTHONUTF8=1" in done.stderr
