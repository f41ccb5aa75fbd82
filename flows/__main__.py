"""The console command `plumbline` with its sub-commands.

A sub-command is declared without what it needs to run: Prefect takes 2 s to import, pandas 0.5 s. `start`
imports a flow after its options were parsed and looked at.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from tasks.core import __version__, platforms, process_memory
from tasks.core.errors import PlumblineError
from tasks.core.markup import printable

if TYPE_CHECKING:
    import typer

FLOWS = ("train", "sweep", "predict", "evaluate")
DAILY, MODELS, CARE = "Train and use", "Look at models and runs", "Settings and health"  # headings of --help


def main(command: str = "") -> None:
    """Run `plumbline train`, `plumbline models`, ... with the arguments of this process.

    Args:
        command: The command; by default the first argument.
    """
    arguments = [command, *sys.argv[1:]] if command else sys.argv[1:]
    try:
        platforms.check()
        platforms.use_utf8()
        run(arguments)
    except PlumblineError as error:  # the command line itself, or the file of --config
        _end(error)
    except OSError as error:  # outside of a command's own context, such as a full disk behind stdout
        from tasks.core.operations import machine_errors

        if explained := machine_errors.explained(error):
            _end(explained)
        raise


def _end(error: PlumblineError) -> NoReturn:
    print(f"error: {printable(str(error))}", file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


def run(arguments: list[str]) -> None:
    """Run a command.

    Args:
        arguments: Its name, and what was typed after it.
    """
    with process_memory.paused_collections():
        arguments, made = _prepared(arguments)
    shows_help = "--help" in arguments  # which ends the process, and makes no garbage
    with process_memory.paused_collections() if shows_help else nullcontext():
        made(args=arguments, prog_name="plumbline")


def _prepared(arguments: list[str]) -> tuple[list[str], Callable[..., Any]]:
    """The arguments with those of --config, and the console command that takes them."""
    import typer.main

    from tasks.core.operations import environment

    environment.exit_on_interrupt()
    command = arguments[0] if arguments else ""
    if command in FLOWS:
        from flows import config_file

        arguments = [command, *config_file.expanded(command, arguments[1:])]
    sys.argv[1:] = arguments  # the first look at --dataset reads them
    return arguments, typer.main.get_command(app([command]))


def app(names: Sequence[str]) -> "typer.Typer":
    """The command `plumbline`.

    Args:
        names: The sub-commands that are imported; the others have only their name and summary.
    """
    import typer

    made = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    shown = typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")

    def plumbline(version: Annotated[bool, shown] = False) -> None:
        """From images to an evaluated, versioned and tested image classifier."""

    made.callback()(plumbline)
    for name, add in ADDERS.items():
        panel, summary = SUMMARIES.get(name, (DAILY, ""))
        if summary and name not in names:
            made.command(name, help=summary, rich_help_panel=panel)(_not_imported)
        else:
            add(made)
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"plumbline {__version__}", flush=True)
        sys.exit(0)


def _not_imported() -> None:
    """Stand in for a command that was not named."""


def _add_flow(name: str, app: "typer.Typer") -> None:
    from flows import start
    from flows.declarations import FLOWS
    from tasks.core.operations.command_line import documented, examples

    declared = FLOWS[name]
    more = start.predict_options if name == "predict" else start.options
    run = partial(start.start, name)
    command = documented(declared.function(), run, groups=declared.groups, more=more)
    app.command(name, epilog=examples(declared.examples))(command)


def _add(
    app: "typer.Typer", function: Callable[..., Any], arguments: Sequence[str] = (), lines: Sequence[str] = ()
) -> None:
    """Add a command that is no flow.

    Args:
        app: The command `plumbline`.
        function: What it does; its name is the command's.
        arguments: Parameters with a default that are arguments.
        lines: Examples.
    """
    from tasks.core.operations.command_line import documented, examples
    from tasks.display import console

    command = documented(function, console.as_command(function), arguments)
    app.command(function.__name__, epilog=examples(lines))(command)


def _models(app: "typer.Typer") -> None:
    from flows.commands import models

    app.add_typer(models.app(), name="models")


def _config(app: "typer.Typer") -> None:
    from flows.commands import config

    app.add_typer(config.app(), name="config")


def _compare(app: "typer.Typer") -> None:
    from flows.commands.compare import compare

    _add(app, compare, (), ('plumbline compare --where "test_accuracy>0.7" --sort=-test_accuracy',))


def _explain(app: "typer.Typer") -> None:
    from flows.commands.explain import explain

    _add(app, explain, ("run", "later"), ("plumbline explain last",))


def _review(app: "typer.Typer") -> None:
    from flows.commands.review import review

    _add(app, review, ("run",), ("plumbline review --dataset photos",))


def _serve(app: "typer.Typer") -> None:
    from flows.commands.serve import serve

    _add(app, serve, (), ("plumbline serve --dataset photos",))


def _doctor(app: "typer.Typer") -> None:
    from flows.commands.doctor import doctor

    _add(app, doctor, (), ("plumbline doctor --fix",))


def _prune(app: "typer.Typer") -> None:
    from flows.commands.prune import prune

    _add(app, prune, (), ("plumbline prune --keep 20",))


def _reproduce(app: "typer.Typer") -> None:
    from flows.commands.reproduce import reproduce

    _add(app, reproduce, ("run",), ("plumbline reproduce last --checkout",))


# Each command imports only its own module.
ADDERS: dict[str, Callable[["typer.Typer"], None]] = {
    "train": partial(_add_flow, "train"),
    "sweep": partial(_add_flow, "sweep"),
    "predict": partial(_add_flow, "predict"),
    "evaluate": partial(_add_flow, "evaluate"),
    "models": _models,
    "compare": _compare,
    "reproduce": _reproduce,
    "explain": _explain,
    "review": _review,
    "serve": _serve,
    "doctor": _doctor,
    "prune": _prune,
    "config": _config,
}
# For `plumbline --help`, which imports none of them. A command without a row here is imported for it.
SUMMARIES: dict[str, tuple[str, str]] = {
    "train": (DAILY, "Train, evaluate and publish an image classifier."),
    "sweep": (DAILY, "Try several parameters and seeds, and publish the best."),
    "predict": (DAILY, "Classify images with a published model."),
    "evaluate": (DAILY, "Evaluate a published model on labelled images."),
    "serve": (DAILY, "Answer requests over HTTP with a published model."),
    "models": (MODELS, "List, show, promote and remove published models."),
    "compare": (MODELS, "Compare runs in a table."),
    "reproduce": (MODELS, "Repeat a past run, and compare the results."),
    "explain": (MODELS, "Show which stages of a run ran, and why."),
    "review": (MODELS, "Correct doubtful labels in the browser, by keyboard."),
    "doctor": (CARE, "Check the installation, the server and the workspace."),
    "prune": (CARE, "Remove outputs that nothing needs any more."),
    "config": (CARE, "Print a file of options for --config."),
}


if __name__ == "__main__":
    main()
