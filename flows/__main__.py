"""The console command `plumbline` with its sub-commands."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks.core.operations import environment

if TYPE_CHECKING:
    import typer

FLOWS = ("train", "sweep", "predict", "evaluate")


def main() -> None:
    """Run `plumbline train`, `plumbline models`, ... with the arguments of this process."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    environment.exit_on_interrupt()
    if command in FLOWS:
        environment.open_command(command)
    import typer  # after `open_command`, which sets the environment before Prefect is imported

    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(plumbline)
    for add in [ADDERS[command]] if command in ADDERS else ADDERS.values():
        add(app)
    app()


def plumbline() -> None:
    """From images to an evaluated, versioned and tested image classifier."""


def _train(app: "typer.Typer") -> None:
    from flows import train_flow

    app.command("train")(train_flow.command)


def _sweep(app: "typer.Typer") -> None:
    from flows import sweep_flow

    app.command("sweep")(sweep_flow.command)


def _predict(app: "typer.Typer") -> None:
    from flows import predict_flow

    app.command("predict")(predict_flow.command)


def _evaluate(app: "typer.Typer") -> None:
    from flows import evaluate_flow

    app.command("evaluate")(evaluate_flow.command)


def _models(app: "typer.Typer") -> None:
    from flows.commands import models

    app.add_typer(models.app(), name="models")


def _compare(app: "typer.Typer") -> None:
    from flows.commands import compare
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    app.command("compare")(documented(compare.compare, console.as_command(compare.compare)))


def _explain(app: "typer.Typer") -> None:
    from flows.commands import explain
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    run = console.as_command(explain.explain)
    app.command("explain")(documented(explain.explain, run, ("run", "later")))


def _review(app: "typer.Typer") -> None:
    from flows.commands import review
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    app.command("review")(documented(review.review, console.as_command(review.review), ["run"]))


def _serve(app: "typer.Typer") -> None:
    from flows.commands import serve
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    app.command("serve")(documented(serve.serve, console.as_command(serve.serve)))


def _doctor(app: "typer.Typer") -> None:
    from flows.commands import doctor
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    app.command("doctor")(documented(doctor.doctor, console.as_command(doctor.doctor)))


def _prune(app: "typer.Typer") -> None:
    from flows.commands import prune
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    app.command("prune")(documented(prune.prune, console.as_command(prune.prune)))


def _reproduce(app: "typer.Typer") -> None:
    from flows.commands import reproduce
    from tasks.core.operations.command_line import documented
    from tasks.display import console

    command = documented(reproduce.reproduce, console.as_command(reproduce.reproduce), ["run"])
    app.command("reproduce")(command)


# Each command imports only its own module: Prefect takes 2 s to import, pandas 0.5 s.
ADDERS: dict[str, Callable[["typer.Typer"], None]] = {
    "train": _train,
    "sweep": _sweep,
    "predict": _predict,
    "evaluate": _evaluate,
    "models": _models,
    "compare": _compare,
    "reproduce": _reproduce,
    "explain": _explain,
    "review": _review,
    "serve": _serve,
    "doctor": _doctor,
    "prune": _prune,
}


if __name__ == "__main__":
    main()
