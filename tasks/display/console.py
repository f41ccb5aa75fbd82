"""What a person sees: one line a stage, progress bars on a terminal, errors without tracebacks."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from tasks.core.errors import PlumblineError

console = Console(highlight=False, soft_wrap=True)
log = logging.getLogger("plumbline")
MAX_ROWS = 40  # rows of a printed table
MAX_WIDTH = 10_000  # characters


class ConsoleHandler(logging.Handler):
    """Prints the lines of the `plumbline` loggers, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else ""
        console.print(Text(self.format(record), style=style))


@contextmanager
def command_context() -> Iterator[None]:
    """Speak to a person who watches: the `plumbline` loggers on the console, errors without a traceback.

    Under a worker nobody opens this, and Prefect's own handler prints the same lines into the worker's log.
    An error that a person can act on ends the process with the error's exit code.
    """
    handler = ConsoleHandler()
    log.addHandler(handler)
    try:
        yield
    except PlumblineError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            Text.assemble(("error: ", "bold red"), str(error))
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("stopped; the next run goes on from what is finished")
        sys.exit(130)
    finally:
        log.removeHandler(handler)


def as_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its lines and errors shown as `command_context` does."""

    def run(**parameters: Any) -> Any:
        with command_context():
            return function(**parameters)

    return run


def progress_bar() -> Progress:
    """A progress bar that vanishes when done and is not drawn where nobody watches (a pipe, a log)."""
    return Progress(
        TextColumn("[dim]{task.description:<10}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def predictions(rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Print a table of file, class and probability.

    Args:
        rows: The first ones.
        total: How many there are.
    """
    table = Table("path", "class", Column("probability", justify="right"), box=None)
    for row in rows[:MAX_ROWS]:
        said = row["predicted_class_name"] or (
            f"unreadable: {row['problem']}" if row["problem"] else "no answer"
        )
        place = row["path"] if row["row"] is None else f"{row['path']}#{row['row']}"
        table.add_row(place, said, "" if row["problem"] else f"{row['probability']:.1%}")
    console.print(table)
    if total > len(rows):
        console.print(f"... and {total - len(rows):,} more")


def table(rows: Sequence[Mapping[str, str]], none: str = "") -> None:
    """Print rows of text, the first row's names as columns; figures stand to the right.

    Args:
        none: Is printed if there are no rows.
    """
    if not rows:
        console.print(none)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    drawn = Table(box=None)
    for name in names:
        figures = all(row.get(name, "")[:1] in "0123456789+-" for row in rows)
        drawn.add_column(name, justify="right" if figures else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(row.get(name, "")) for name in names))
    # Wider than the terminal, its lines are folded there: none of their content is cut off.
    wanted = console.measure(drawn, options=console.options.update(width=MAX_WIDTH)).maximum
    Console(highlight=False, width=max(wanted, console.width)).print(drawn)  # print(width=) only narrows


def facts(title: str, values: Mapping[str, str]) -> None:
    """Print what is known of one thing, one line a fact."""
    console.print(Text(title, style="bold"))
    width = max(map(len, values))
    for name, value in values.items():
        console.print(Text(f"  {name:<{width}}  {value}"))
