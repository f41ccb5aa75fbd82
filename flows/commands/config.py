"""`plumbline config show`: a file of options with their defaults and meanings, for `--config`."""

import typer

from flows import config_file, config_text
from flows.declarations import FLOWS
from tasks.core.config import RecipeName
from tasks.core.errors import UsageError
from tasks.core.operations.command_line import documented
from tasks.display import console


def show(command: str = "train", recipe: RecipeName | None = None) -> None:
    """Print a file of all options of a command, with their defaults and what they mean.

    `plumbline config show > run.toml` writes it, and `plumbline train --config run.toml` takes it back.

    Args:
        command: The command whose options are shown: train, sweep, predict or evaluate.
        recipe: Name this recipe in the file, and show its own values in comments.
    """
    if command not in FLOWS:
        raise UsageError(f"{command} takes no --config", expected=", ".join(FLOWS), done="nothing was shown")
    print(config_text.toml(command, config_file.option_parameters(command), recipe), end="", flush=True)


def app() -> typer.Typer:
    """Return the command with its sub-command."""
    config = typer.Typer(help="Files of options, for --config.", no_args_is_help=True)

    # With a single command Typer would take `show` for an argument.
    @config.callback()
    def _config() -> None:
        """Files of options, for --config."""

    config.command("show")(documented(show, console.as_command(show), ["command"]))
    return config
