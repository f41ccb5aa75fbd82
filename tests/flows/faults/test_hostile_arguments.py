"""Generated command lines over all commands: no traceback, the documented exit codes, nothing half-done.

    make stress ARGS="tests/flows/faults/test_hostile_arguments.py -s"

Each command line has hostile values: empty, huge, markup, control characters, paths that lead elsewhere. The
commands run in this process. `train` and `sweep` get `--dry-run`; the bodies of `predict` and `evaluate` run
without Prefect, and `predict --json` ends at the server that is not there. `serve` never finds its dataset.
Files of --config have hostile options. PLUMBLINE_ARGUMENTS gives another number than 10,000,
PLUMBLINE_ARGUMENTS_SEED other lines.
"""

import collections
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from enum import EnumType
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from flows import config_file, evaluate_flow, predict_flow, start
from flows.__main__ import ADDERS, FLOWS
from tasks.core.errors import PlumblineError
from tasks.core.markup import printable
from tasks.core.operations.command_line import documented
from tasks.core.runs import tables
from tasks.core.workspace import VARIABLE, Workspace
from tasks.display import console
from tests.core.registry.promotion.test_promotion import promote
from tests.support.fake_outputs import FakeOutputs

pytestmark = [pytest.mark.stress, pytest.mark.timeout(0)]
COUNT = int(os.environ.get("PLUMBLINE_ARGUMENTS", "10000"))
SEED = int(os.environ.get("PLUMBLINE_ARGUMENTS_SEED", "0"))
LONGEST = 60  # seconds of a command; a longer one hangs
CODES = {0, 1, 2}
DRY = ("train", "sweep")
SLOW = ("doctor", "compare", "explain", "evaluate", "predict", "serve")
HOSTILE = (
    *("", " ", "  \t", "-", "--", "-1", "0", "1", "-0", "1e999", "-1e999", "nan", "inf", "1_000", "0x10"),
    *(str(10**30), str(-(10**30)), "1e-320", "0.5", "1.5", "2.0000000001", "\u0664\u0662", "1,5", "1e3"),
    *("$", "$$", "${HOME}", "`id`", "$(id)", "%s", "%(x)s", "{}", "{0.__class__}", "\\", "\\n", "'", '"'),
    *("[x]", "[/x]", "[red]a", "[", "]", "<script>", "&amp;", "a=b", "=", "=1", "a=", "a=b=c", "a,b", ","),
    *("..", ".", "../..", "../escape", "a/../../b", "//x", "./", "~", "~nobody/x", "/dev/null", "/proc/self"),
    *("/nowhere", "/nowhere/at/all", "missing", "missing/", "file", "file/x", "folder", "*.jpg", "**", "[a-"),
    *("x" * 255, "x" * 256, "x" * 5000, "/".join("y" * 200 for _ in range(30)), "\u00e9" * 200),
    *("s3://", "s3:///", "s3:", "file://", "file:///etc", "http://", "http:///x", "ftp://x/y", "://", "gs:"),
    *(
        "http://[x",
        "http://x:99999999",
        "http://ann:pw@x:1/?sig=abcdefgh12",
        "http://x y",
        "https://\u00e9.x",
    ),
    *("\x1b[31mred", "\x07", "a\nb", "a\rb", "\x7f", "\u202eabc", "\u200b", "\ufeff", "\udcff", "a\udc80b"),
    *("\u732b", "e\u0301", "\u00e9", "\U0001f98a", "\u0130", "\u00df", "CON", "nul", "a:b", "v0001", "v0000"),
    *("v9999999999", "v1", "V0001", "champion", "previous", "last", "all", "none", "None", "true", "null"),
    *("--help", "--workspace", "--dataset=", "--yes", "-x", "---", "--no-such", "animals", "digits", "auto"),
    *("fn=1,fp=1", "fn=-1,fp=1", "fn=nan,fp=0", "epochs=1..", "epochs=..", "epochs=1e9..2", "seed=1", "a..b"),
    *("cat=0.9", "cat=2", "cat=", "=0.9", "time-gap=", "time-gap=-1", "time-gap=nan", "(", "(a+)+$", "(?P<x"),
)
WHOLE = ("0", "1", "-1", "2", "8", "64", "513", str(10**30), str(-(10**30)), "65536", "\u0664\u0662", "1_000")
NUMBERS = (
    *WHOLE,
    "1e999",
    "-1e999",
    "nan",
    "inf",
    "-0.0",
    "1e-320",
    "0.5",
    "0.01",
    "1",
    "1e3",
    "0.999999999",
)


CONFIGS = tuple(
    f"../../config/{name}" for name in ("a.toml", "a.yaml", "deep.toml", "deep.yaml", "huge.yaml")
)


def application() -> typer.Typer:
    """All commands; those that are Prefect flows as the plain functions that Prefect would call."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    for name, add in ADDERS.items():
        if name not in ("predict", "evaluate"):
            add(app)
    for name, body, more in (
        ("predict", predict_flow.predict_flow.fn, start.predict_options),
        ("evaluate", evaluate_flow.evaluate_flow.fn, start.options),
    ):
        app.command(name)(documented(body, partial(without_prefect, name, body), more=more))
    return app


def without_prefect(name: str, body: Callable[..., Any], /, **parameters: Any) -> None:
    """Do as `start.start`, without a server and without Prefect."""
    if parameters.get("json"):
        start.start(name, **parameters)
    wanted = {key: value for key, value in parameters.items() if key not in ("config", "json")}
    console.as_command(lambda: body(**wanted | start.LOOKS[name](wanted)))()


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a workspace of two versions and one run, a file, and a folder."""
    fake = FakeOutputs(workspace, images=40)
    promote(fake, "one", 1.0)
    promote(fake, "two", 1.0, champion_evaluation=fake.evaluation("one", 1.0), seed=5)
    row = {"test_accuracy": 0.9, "stages": "{}", "parameters": "{}"}
    tables.append("runs", "animals", "r1", pd.DataFrame([row]), fake.workspace)
    root = tmp_path / "home" / "place"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_text("text")
    shutil.copytree(fake.workspace.root, root / "ws")
    monkeypatch.chdir(root)
    for name in ("HOME", "PLUMBLINE_CACHE"):
        monkeypatch.setenv(name, str(root / "home"))
    monkeypatch.setenv(VARIABLE, str(root / "ws"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setattr(sys, "argv", ["plumbline"])  # `start` looks there for what was typed
    return root


def content(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file, and every folder, except locks.

    Listings of images in `raw` are left out: an evaluation that fails later keeps its finished stages.
    """
    found = {}
    for path in root.rglob("*"):
        if path.suffix != ".lock" and "raw" not in path.relative_to(root).parts:
            status = path.stat()
            found[str(path)] = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def commands(app: typer.Typer) -> dict[tuple[str, ...], Any]:
    """The commands by their words."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for sub, inner in getattr(command, "commands", {"": command}).items():
            found[tuple(filter(None, (name, sub)))] = inner
    return found


def write_configs(folder: Path, options: list[Any], generator: random.Random) -> None:
    """Write files of options, one in TOML and one in YAML, with the same hostile values; and odd ones."""
    folder.mkdir(exist_ok=True)
    chosen = generator.sample(options, k=min(len(options), generator.randint(1, 3)))
    values = [(option.name, value_for(option, generator)) for option in chosen]
    texts = [(name, value if generator.random() < 0.3 else json.dumps(value)) for name, value in values]
    write = partial(Path.write_text, encoding="utf-8", errors="surrogateescape")
    write(folder / "a.toml", "".join(f"{name} = {text}\n" for name, text in texts))
    write(folder / "a.yaml", "".join(f"{name}: {text}\n" for name, text in texts))
    write(folder / "deep.toml", "epochs = " + "[" * 5000)
    write(folder / "deep.yaml", "epochs: " + "[" * 5000)
    write(folder / "huge.yaml", "epochs: 0x" + "f" * 6000)


def value_for(option: Any, generator: random.Random) -> str:
    """A value; mostly one that the option's type takes, so that it gets past the parser."""
    if generator.random() < 0.3:
        return generator.choice(HOSTILE)
    if option.name == "config":
        return generator.choice(CONFIGS)
    kind = option.type_descriptor.annotation
    pools: dict[Any, tuple[str, ...]] = {int: WHOLE, float: NUMBERS}
    choices = tuple(map(str, kind)) if isinstance(kind, EnumType) else ()
    return generator.choice(pools.get(kind) or choices or HOSTILE)


def command_lines(app: typer.Typer, generator: random.Random) -> Iterator[list[str]]:
    """Command lines without end; each has one hostile value or more."""
    known = commands(app)
    weights = [1 if words[0] in SLOW else 3 for words in known]
    while True:
        words, command = generator.choices(list(known.items()), weights)[0]
        line = [*words]
        for parameter in command.params:
            if parameter.param_type_name == "argument" and generator.random() < 0.95:
                line.append(generator.choice(("animals", "v0001", generator.choice(HOSTILE))))
        options = [each for each in command.params if each.param_type_name == "option"]
        if any(option.name == "config" for option in options):
            write_configs(Path("../../config"), options, generator)
        for option in generator.sample(options, k=min(len(options), generator.randint(1, 4))):
            if option.name not in ("yes", "help", "workspace") or generator.random() < 0.2:
                line.append(generator.choice((*option.opts, *option.secondary_opts)))
                line += [] if option.is_flag else [value_for(option, generator)]
        if words[0] == "serve":  # the last --dataset counts
            line += ["--dataset", generator.choice([text for text in HOSTILE if text != "animals"])]
        if words[0] in ("review", "reproduce"):  # with good arguments they would serve, and train
            line.insert(len(words), generator.choice([text for text in HOSTILE if text != "last"]))
        if generator.random() < 0.05:
            line.append(generator.choice(HOSTILE))
        yield [*line, "--dry-run"] if words[0] in DRY else line


def run(app: typer.Typer, line: list[str]) -> tuple[int, str, BaseException | None]:
    """The exit code, what was printed, and what was raised."""
    try:
        if line[0] in FLOWS:
            line = [line[0], *config_file.expanded(line[0], line[1:])]
    except PlumblineError as error:
        return error.exit_code, f"error: {printable(str(error))}", None
    except Exception as error:
        return 1, "", error
    sys.argv[1:] = line
    workspace = os.environ[VARIABLE]
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST)
    try:
        result = CliRunner().invoke(app, line)
    finally:
        signal.alarm(0)
        os.environ[VARIABLE] = workspace  # `--workspace` sets it for the process
    raised = result.exception if not isinstance(result.exception, SystemExit) else None
    return result.exit_code, result.output, raised


def _hangs(*_: object) -> None:
    raise TimeoutError(f"no end after {LONGEST} s")


def faults(code: int, text: str, raised: BaseException | None, unchanged: bool) -> list[str]:
    """What is wrong with the end of a command."""
    checks: dict[str, Callable[[], bool]] = {
        f"raised {raised!r}"[:300]: lambda: raised is None,
        f"exit code {code}": lambda: code in CODES,
        "a traceback": lambda: "Traceback" not in text,
        "no message": lambda: code == 0 or bool(text.strip()),
        "control characters": lambda: not {"\x1b", "\x07", "\x7f"} & set(text),
        "changed something": lambda: code == 0 or unchanged,
    }
    return [name for name, holds in checks.items() if not holds()]


def test_no_generated_command_line_ends_badly(place: Path) -> None:
    app, generator = application(), random.Random(SEED)
    around = place.parent  # `..` must not change either
    kept = around.with_name("kept")
    shutil.copytree(around, kept)
    bad: list[str] = []
    codes: collections.Counter[tuple[str, int]] = collections.Counter()
    before = content(around)
    lines = command_lines(app, generator)
    for _ in range(COUNT):
        line = next(lines)
        code, text, raised = run(app, line)
        after = content(around)
        codes[line[0], code] += 1
        if wrong := faults(code, text, raised, after == before):
            changed = sorted(set(after.items()) ^ set(before.items()))[:3]
            bad.append(f"{[word[:60] for word in line]}: {wrong} {changed if after != before else ''}")
        if after != before:
            os.chdir(around.parent)
            shutil.rmtree(around, ignore_errors=True)
            shutil.copytree(kept, around)
            os.chdir(place)
            before = content(around)
    print(f"{COUNT} command lines, {len(bad)} faults; exit codes: {dict(sorted(codes.items()))}")
    assert not bad, "\n".join([f"{len(bad)} faults", *bad[:60]])
