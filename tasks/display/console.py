"""Console output: one line per stage, progress bars on a terminal, tables, errors without tracebacks."""

import logging
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.core import shares
from tasks.core.addresses import without_secrets
from tasks.core.errors import PlumblineError
from tasks.core.markup import printable
from tasks.core.operations import machine_errors
from tasks.display import fit

if TYPE_CHECKING:
    from rich.progress import Progress

# markup=False: names of files and classes are text, also where they have square brackets
console = Console(highlight=False, soft_wrap=True, markup=False)
log = logging.getLogger("plumbline")
MAX_ROWS = 40  # rows of a printed table of predictions
MAX_WIDTH = 10_000  # characters of a table's line
STAGE_COLUMN = 14  # where a stage's result begins, below its name


class ConsoleHandler(logging.Handler):
    """Prints the log records of the `plumbline` loggers, above a progress bar if one is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; warnings and errors in yellow."""
        style = "yellow" if record.levelno >= logging.WARNING else ""
        text = _fitted(printable(without_secrets(self.format(record))), STAGE_COLUMN)
        console.print(Text(text, style=style))


def show(record: logging.LogRecord) -> None:
    """Print a record that was logged before the command showed its log."""
    ConsoleHandler().handle(record)


@contextmanager
def command_context() -> Iterator[None]:
    """Show the `plumbline` loggers on the console, and errors without a traceback.

    A `PlumblineError` and a refusal of the operating system end the process with the error's exit code, and
    Ctrl-C with 130. A flow that a Prefect worker runs does not use this: Prefect's own handler writes the
    same lines to the worker's log.
    """
    handler = ConsoleHandler()
    log.addHandler(handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `exit_on_interrupt` was for the imports
    try:
        yield
    except PlumblineError as error:
        _end(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            console.on_broken_pipe()
        if explained := machine_errors.explained(error):
            _end(explained)
        raise
    except KeyboardInterrupt:
        console.print("stopped; the next run resumes from the finished stages")
        sys.exit(130)
    finally:
        log.removeHandler(handler)


def _reader_is_gone() -> bool:
    """Whether nobody reads stdout any more, as in `plumbline config show | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _end(error: PlumblineError) -> NoReturn:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("error: ", "bold red"), printable(str(error)))
    )
    sys.exit(error.exit_code)


def as_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` wrapped in `command_context`."""

    def run(**parameters: Any) -> Any:
        with command_context():
            return function(**parameters)

    return run


def confirmed(what: str, yes: bool) -> bool:
    """Whether to do what cannot be undone: asks on a terminal, and is true without one.

    Args:
        what: What would be done, as an order.
        yes: Do not ask.
    """
    if yes or not (console.is_terminal and sys.stdin.isatty()):
        return True
    return console.input(f"{what}? [y/N] ").strip().lower() in ("y", "yes")


def progress_bar() -> "Progress":
    """Return a progress bar that disappears when done; it is drawn on a terminal only."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # `--help` needs none

    return Progress(
        TextColumn("{task.description:<10}", style="dim", markup=False),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def predictions(rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Print a table of path, predicted class and probability.

    Args:
        rows: Rows of the prediction table; at most `MAX_ROWS` are printed.
        total: Number of rows of the whole table.
    """
    shown = []
    for row in rows[:MAX_ROWS]:
        answer = row["predicted_class_name"] or (
            f"unreadable: {row['problem']}" if row["problem"] else "no answer"
        )
        path = row["path"] if row["row"] is None else f"{row['path']}#{row['row']}"
        probability = "" if row["problem"] else shares.percent(row["probability"])
        shown.append({"path": path, "class": answer, "probability": probability})
    table(shown)
    if total > len(rows):
        console.print(f"... and {total - len(rows):,} more")


def table(rows: Sequence[Mapping[str, str]], none: str = "") -> None:
    """Print a table; columns of numbers are right-aligned.

    On a terminal that is too narrow each row becomes lines of name and value, so that no word is broken.

    Args:
        rows: The rows, as text by column name. A row may lack a column.
        none: Text that is printed if there are no rows.
    """
    if not rows:
        console.print(none)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    printed = Table(box=None)
    for name in names:
        is_number = all(row.get(name, "")[:1] in "0123456789+-" for row in rows)
        printed.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        printed.add_row(*(Text(printable(row.get(name, ""))) for name in names))
    width = console.measure(printed, options=console.options.update(width=MAX_WIDTH)).maximum
    if console.is_terminal and width > console.width:
        for line in fit.records([{name: printable(text) for name, text in row.items()} for row in rows]):
            console.print(Text(fit.wrapped(line, console.width, fit.indent_of(line))))
        return
    Console(highlight=False, width=max(width, console.width)).print(printed)  # print(width=) only narrows


def facts(title: str, values: Mapping[str, str]) -> None:
    """Print names and values below a title, one per line."""
    console.print(Text(title, style="bold"))
    width = max(map(len, values))
    for name, value in values.items():
        console.print(Text(_fitted(f"  {name:<{width}}  {value}", width + 4)))


def _fitted(text: str, indent: int) -> str:
    """The text with lines that fit the terminal; as it is where there is none."""
    if not console.is_terminal:
        return text
    return "\n".join(fit.wrapped(line, console.width, indent) for line in text.split("\n"))
