"""`plumbline`, the console command."""

import sys

from tasks.core import environment

FLOWS = ("train", "predict")


def main() -> None:
    """Run `plumbline train`, `plumbline predict`, ... with the arguments of this process."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in FLOWS:
        environment.open_command(command)
    import typer  # after the settings above: the flows import Prefect

    from flows import predict_flow, train_flow
    from tasks.core.command import documented

    app = typer.Typer(
        help="From images to an evaluated, versioned, proven classifier.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command("train")(documented(train_flow.train_flow.fn, train_flow.main))
    app.command("predict")(documented(predict_flow.predict_flow.fn, predict_flow.main))
    app()


if __name__ == "__main__":
    main()
