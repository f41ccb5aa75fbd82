"""Command-line options made from a function's signature and docstring, and written back."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tasks.core.config import NON_OUTPUT_PARAMETERS, PromotePolicy
from tasks.core.operations.command_line import documented, options, train_command
from tasks.orchestration.settings import TrainRunSettings


def greet(
    name: str, times: int = 1, policy: PromotePolicy = PromotePolicy.better, augment: bool | None = None
) -> None:
    """Say hello.

    Args:
        name: Who is greeted.
        times: How often,
            on two lines.
        policy: Which policy.
        augment: Whether to shout.
    """


@pytest.fixture
def received() -> list[dict[str, object]]:
    """Parameters of each call of `greet`."""
    return []


def invoke(received: list[dict[str, object]], *arguments: str) -> str:
    """Call `greet` as a command, adding its parameters to `received`. Returns what was printed."""
    app = typer.Typer()
    app.command()(documented(greet, lambda **parameters: received.append(parameters)))
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).output


def test_options_parsed_by_the_command_give_the_same_parameters(received: list[dict[str, object]]) -> None:
    parameters = {"times": 3, "policy": PromotePolicy.not_worse, "augment": False}
    invoke(received, "Ann", *options(parameters))
    assert received == [{"name": "Ann", **parameters}]
    assert options({"exports": ["litert", "onnx"], "archive": None}) == [
        "--exports", "litert", "--exports", "onnx",
    ]  # fmt: skip


def test_train_command_names_what_is_not_the_default() -> None:
    parameters = TrainRunSettings.of({}).parameters()
    usual = {name: value for name, value in parameters.items() if name not in NON_OUTPUT_PARAMETERS}
    assert train_command(usual) == "plumbline train --dataset digits"
    changed = usual | {"val_fraction": 0.2, "drop_leaks": True, "precision": "float32"}
    assert train_command(changed) == (
        "plumbline train --dataset digits --val-fraction 0.2 --drop-leaks --precision float32"
    )
    assert "--val-fraction 0.1 --max-quarantine 0.01" in train_command(usual, complete=True)


def test_documented_command_shows_its_docstring_as_help(received: list[dict[str, object]]) -> None:
    text = invoke(received, "--help")
    for expected in (
        "Say hello.",
        "Who is greeted.",
        "How often, on two lines.",
        "not-worse",
        "--no-augment",
    ):
        assert expected in text
    assert received == []


def test_documented_command_converts_values_to_their_types(received: list[dict[str, object]]) -> None:
    invoke(received, "Ada", "--times", "3", "--policy", "not-worse", "--augment")
    invoke(received, "Ada")
    assert received == [
        {"name": "Ada", "times": 3, "policy": PromotePolicy.not_worse, "augment": True},
        {"name": "Ada", "times": 1, "policy": PromotePolicy.better, "augment": None},
    ]


def test_documented_command_refuses_an_unknown_choice(received: list[dict[str, object]]) -> None:
    assert "sometimes" in invoke(received, "Ada", "--policy", "sometimes")
    assert received == []


def test_an_address_is_refused_where_a_path_is_wanted() -> None:
    def write(out: Path | None = None, workspace: Path | None = None) -> None:
        """Write.

        Args:
            out: Where to.
            workspace: From where.
        """

    app = typer.Typer()
    app.command()(documented(write, lambda **parameters: None))
    refused = CliRunner().invoke(app, ["--out", "s3://bucket/rows"], env={"COLUMNS": "200"})
    assert (refused.exit_code, "is an address" in refused.output) == (2, True)
    assert CliRunner().invoke(app, ["--workspace", "s3://bucket/ws"]).exit_code == 0
