import pytest
import typer
from typer.testing import CliRunner

from tasks.core.config import PromotePolicy
from tasks.core.operations.command_line import documented, options


def greet(
    name: str, times: int = 1, policy: PromotePolicy = PromotePolicy.better, augment: bool | None = None
) -> None:
    """Say hello.

    Args:
        name: Who is greeted.
        times: How often,
            said in two lines.
        policy: Which policy.
        augment: Whether to shout.
    """


@pytest.fixture
def said() -> list[dict[str, object]]:
    return []


def invoke(said: list[dict[str, object]], *arguments: str) -> str:
    app = typer.Typer()
    app.command()(documented(greet, lambda **parameters: said.append(parameters)))
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).output


def test_options_are_read_back_as_they_were(said: list[dict[str, object]]) -> None:
    given = {"times": 3, "policy": PromotePolicy.not_worse, "augment": False}
    invoke(said, "Ann", *options(given))
    assert said == [{"name": "Ann", **given}]
    assert options({"exports": ["litert", "onnx"], "archive": None}) == [
        "--exports", "litert", "--exports", "onnx",
    ]  # fmt: skip


def test_help_comes_from_the_docstring(said: list[dict[str, object]]) -> None:
    text = invoke(said, "--help")
    for expected in (
        "Say hello.",
        "Who is greeted.",
        "How often, said in two lines.",
        "not-worse",
        "--no-augment",
    ):
        assert expected in text
    assert said == []


def test_values_arrive_typed(said: list[dict[str, object]]) -> None:
    invoke(said, "Ada", "--times", "3", "--policy", "not-worse", "--augment")
    invoke(said, "Ada")
    assert said == [
        {"name": "Ada", "times": 3, "policy": PromotePolicy.not_worse, "augment": True},
        {"name": "Ada", "times": 1, "policy": PromotePolicy.better, "augment": None},
    ]


def test_an_unknown_choice_is_refused(said: list[dict[str, object]]) -> None:
    assert "sometimes" in invoke(said, "Ada", "--policy", "sometimes")
    assert said == []
