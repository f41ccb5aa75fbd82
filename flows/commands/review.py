"""`plumbline review`: look at doubtful labels in the browser, and correct them by keyboard."""

import signal
from pathlib import Path

from rich.text import Text

from tasks.core import shares
from tasks.core.errors import UsageError
from tasks.core.operations import provenance
from tasks.core.review import server
from tasks.core.review.decisions import DecisionFiles, train_command
from tasks.core.review.items import MOST, Item, choose
from tasks.core.review.page import FILE, offline
from tasks.core.review.past_run import find_run
from tasks.core.review.pictures import Pictures
from tasks.core.storage import atomic
from tasks.core.storage.workspaces import open_existing
from tasks.display import console


def review(
    run: str = "last",
    dataset: str | None = None,
    out: Path | None = None,
    batch: Path | None = None,
    most: int = MOST,
    page: Path | None = None,
    port: int | None = None,
    user: str | None = None,
    show_predictions: bool = False,
    again: bool = False,
    workspace: Path | None = None,
) -> None:
    """Look at doubtful labels of a run in the browser, and correct them by keyboard.

    A local page shows likely wrong labels, the most confident mistakes of each model, duplicates with
    different labels, and random images. Each answer is saved at once. Ctrl-C ends the review, and prints the
    command that trains with it. Images with a decision in the file are not shown again.

    Args:
        run: A run's id (`plumbline compare --columns run_id`), or "last".
        dataset: The last run of this dataset.
        out: The file of decisions, for --corrections; it is continued if it exists. Default: the file that
            the run was trained with, else corrections.csv.
        batch: A batch of `plumbline predict --label-next`, or the folder of its batches: its images to label
            next are shown, too. Their labels go to new_labels.csv beside the file of decisions.
        most: Largest number of images.
        page: Write the page to this .html file instead, with the pictures in it: it needs no server, and
            offers the decisions as a download.
        port: The port of the local page. Default: a free one.
        user: Who decides, for the column user. Default: the name of the account.
        show_predictions: Show what the models say before there is an answer. It may bias the answers.
        again: Show images with a decision in the file, too.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    _check(most, page)
    past = find_run(run, dataset, open_existing(workspace))
    files = DecisionFiles(out or past.corrections or Path(FILE), past.earlier_rows())
    inputs = past.inputs(_label_next(batch, past.dataset) if batch else ())
    files.check(inputs.tensors, str(past.parameters.get("dataset")))
    parameters = past.parameters | ({"workspace": workspace} if workspace else {})
    if page is not None:
        html = offline(inputs, past.title, parameters, files.rows(), most)
        atomic.write_bytes(page, html.encode())
        console.console.print(Text(f"{page}: open it in a browser; it offers {FILE} as a download"))
        return
    items = choose(inputs, most, (lambda item: False) if again else files.is_decided)
    if not items:
        console.console.print(Text(f"{past.title}: no image to look at without a decision in {files.path}"))
        return
    pictures = Pictures(items, inputs.tensors, inputs.reader)
    who = provenance.who() if user is None else user
    command = train_command(parameters, str(files.path))
    opened = server.Review(
        past.title, command, items, pictures, files, inputs.tensors.classes, who, show_predictions
    )
    _serve(opened, port)
    for line in opened.summary():
        console.console.print(Text(line))


def _check(most: int, page: Path | None) -> None:
    if most < 1:
        raise UsageError("--most is out of range", expected="1 or more", found=f"{most}")
    if page is not None and (page.is_dir() or page.suffix.lower() not in (".html", ".htm")):
        raise UsageError(f"--page {page} is no page", expected="the path of an .html file")


def _label_next(batch: Path, dataset: str) -> list[Item]:
    # Imported here: it brings matplotlib, which takes 0.5 s.
    from tasks.core.reports.label_next import read_items

    return read_items(batch, dataset)


def _serve(opened: server.Review, port: int | None) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    listening = server.open_server(opened, port)
    # A shell that starts a command in the background has it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console.console.print(
        Text(
            f"{opened.title}: {shares.counted(len(opened.items), 'image')} to look at; Ctrl-C ends the review"
        )
    )
    console.console.print(Text(server.address_of(listening, opened), style="bold"))
    try:
        listening.serve_forever()
    except KeyboardInterrupt:
        console.console.print("")
    finally:
        listening.server_close()
