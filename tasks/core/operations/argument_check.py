"""Checks the arguments and `--dataset` before a server starts and Prefect is imported.

A wrong folder is refused at once. Folders are listed as far as classes and splits ask for, headers of tables
are read, no image is opened. What is not found here is refused by the stages, with the same messages.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from tasks.core import markup
from tasks.core.errors import PlumblineError, UsageError

OPTION = "--dataset"
COMMANDS = ("train", "sweep")
LARGEST_CSV = 1 << 20  # bytes of a CSV that is read whole: some 20,000 lines
LARGEST_ZIP = 1 << 30  # bytes of a zip whose names are read


def refusal(command: str, arguments: Sequence[str]) -> PlumblineError | None:
    """Why a command line cannot be carried out, such as its dataset; None if nothing is found here.

    Args:
        command: The command, such as "train".
        arguments: The arguments of the process.
    """
    if odd := [argument for argument in arguments if not markup.is_utf8(argument)]:
        return UsageError(
            "an argument is not UTF-8",
            expected="text: the server keeps the arguments of each run",
            found=repr(os.fsencode(odd[0])),
            done="nothing was started",
            todo="rename the file or folder",
        )
    dataset = _value(arguments)
    if command not in COMMANDS or dataset is None or "--help" in arguments:
        return None
    try:
        _check_dataset(dataset)
    except PlumblineError as error:
        return error
    except OSError:  # the stages explain what the operating system refuses
        return None
    return None


def _value(arguments: Sequence[str]) -> str | None:
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{OPTION}="):
            return argument.removeprefix(f"{OPTION}=")
        if argument == OPTION and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def _check_dataset(dataset: str) -> None:
    from tasks.core.data.readers import csv_table
    from tasks.core.data.readers.image_folder import folders
    from tasks.core.data.readers.parquet.file import ParquetFile
    from tasks.core.data.sources import resolve

    path = resolve.resolve(dataset)
    if not isinstance(path, Path):
        return
    format_name = resolve.detect_format(path)
    if format_name == "folder":
        folders.check_layout(path)
    elif format_name == "csv" and path.stat().st_size <= LARGEST_CSV:
        csv_table.scan(path)
    elif format_name == "parquet" and path.is_file():
        ParquetFile(path, "")
    elif format_name == "archive" and path.suffix.lower() == ".zip" and path.stat().st_size <= LARGEST_ZIP:
        _check_zip(path)


def _check_zip(path: Path) -> None:
    from tasks.core.data.files.archive import Archive, kind_of
    from tasks.core.data.readers.image_folder import folders

    if kind_of(path) != "zip":  # a tar by another name: the stage may have to unpack it first
        return
    opened = Archive(path)
    folders.check_layout(path, folders.Walk(opened.tree.scandir, opened.read_head))
