"""Command lines from documented functions: one signature and one docstring serve every surface."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

import docstring_parser
import typer


def documented(
    function: Callable[..., Any], run: Callable[..., Any], arguments: Collection[str] = ()
) -> Callable[..., Any]:
    """`run` with the signature of `function`, each parameter's help taken from its docstring's Args.

    Args:
        function: Has type hints and a Google-style docstring. Parameters without a default become
            arguments, the others options.
        run: Is called with the parameters as keywords.
        arguments: Parameters that become arguments although they have a default.
    """
    text = docstring_parser.parse(inspect.getdoc(function) or "")
    helps = {parameter.arg_name: parameter.description for parameter in text.params}
    hints = inspect.get_annotations(function, eval_str=True)

    def command(**parameters: Any) -> Any:
        return run(**parameters)

    signature = inspect.signature(function)
    annotated = {
        name: Annotated[hints[name], _shown(parameter, helps[name], name in arguments)]
        for name, parameter in signature.parameters.items()
    }
    command.__annotations__ = annotated
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(annotation=annotated[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in signature.parameters.items()
        ],
        return_annotation=None,
    )
    command.__doc__ = "\n\n".join(filter(None, [text.short_description, _unwrapped(text.long_description)]))
    return command


def _unwrapped(text: str | None) -> str:
    """Paragraphs as one line each: the terminal wraps them to its own width."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _shown(parameter: inspect.Parameter, text: str | None, argument: bool) -> Any:
    text = " ".join((text or "").split())
    argument = argument or parameter.default is parameter.empty
    return typer.Argument(help=text) if argument else typer.Option(help=text)


def options(parameters: Mapping[str, Any]) -> list[str]:
    """The words of a command line that give these parameters; None leaves one out.

    >>> options({"epochs": 3, "augment": False, "exports": ["litert", "onnx"], "archive": None})
    ['--epochs', '3', '--no-augment', '--exports', 'litert', '--exports', 'onnx']
    """
    words: list[str] = []
    for name, value in parameters.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [f"--{flag}", str(each)]
    return words
