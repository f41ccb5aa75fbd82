"""The review page: one HTML file. It saves to the local server, or offers the decisions as a download.

`page.html` is the same in both cases. All that differs is the JSON that is put into it: with the address of a
server it sends each decision there; without, it has the pictures in it and works from a file.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.review.decisions import COLUMNS, NEW_COLUMNS, NEW_LABELS, Row, decided_keys, train_command
from tasks.core.review.items import Item, ReviewInputs, choose
from tasks.core.review.pictures import Pictures, with_partners
from tasks.core.storage import hashing

PAGE = Path(__file__).with_name("page.html")
MARK = "/*DATA*/"
FILE = "corrections.csv"
SIDES = (256, 192, 144)  # pixels of embedded pictures; the first that fits
MAX_BYTES = 3_000_000  # of all embedded pictures, before base64 makes them a third larger
OFFLINE = 120  # images of a page without a server


def render(content: Mapping[str, Any]) -> str:
    """The page with its content. All names are in JSON, in which no "<" is left, and become text nodes."""
    text = json.dumps(content, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return PAGE.read_text(encoding="utf-8").replace(MARK, text)


def content(
    title: str, classes: Sequence[str], items: Sequence[Item], pictures: Mapping[str, str], command: str
) -> dict[str, Any]:
    """What the page shows; JSON values.

    Args:
        title: What is reviewed, such as "digits v0002".
        classes: The names of the classes, in the order of the labels.
        items: The images, in the order in which they are shown.
        pictures: The address of each picture, by key.
        command: The command that trains with the decisions.
    """
    return {
        "id": hashing.digest_of([title, *(item.key for item in items)]),
        "title": title,
        "classes": list(classes),
        "items": [_item(item, pictures) for item in items],
        "columns": COLUMNS,
        "new_columns": NEW_COLUMNS,
        "new_labels": NEW_LABELS,
        "command": command,
        "file": FILE,
        "save": "",  # the address for decisions; empty without a server
        "user": "",
        "decisions": [],  # those that were made already: number of the item, decision, class
        "earlier": [],  # rows that the download begins with
        "show_predictions": False,
    }


def offline(
    inputs: ReviewInputs,
    title: str,
    parameters: Mapping[str, Any],
    earlier: Sequence[Row],
    most: int = OFFLINE,
) -> str:
    """The page that needs no server: the pictures are in it, and it offers a file to download.

    Args:
        inputs: The outputs of a run.
        title: What is reviewed.
        parameters: Those of the run.
        earlier: Decisions that were made before; these images are not shown, and the download has them.
        most: Largest number of images.
    """
    decided = decided_keys(earlier)
    items = choose(inputs, most, lambda item: bool({item.image_id, item.path} & decided))
    pictures = embedded(items, Pictures(items, inputs.tensors, inputs.reader))
    command = train_command(parameters, FILE)
    values = content(title, inputs.tensors.classes, items, pictures, command)
    return render(values | {"earlier": list(earlier)})


def embedded(items: Sequence[Item], pictures: Pictures) -> dict[str, str]:
    """The pictures as data URIs, by key, as large as `MAX_BYTES` allows."""
    for side in SIDES:
        encoded = {item.key: pictures.encoded(item, side) for item in with_partners(items)}
        if sum(len(picture) for _, picture in encoded.values()) <= MAX_BYTES:
            break
    return {
        key: f"data:{media_type};base64,{base64.b64encode(picture).decode()}"
        for key, (media_type, picture) in encoded.items()
    }


def _item(item: Item, pictures: Mapping[str, str]) -> dict[str, Any]:
    names = ("image_id", "path", "class_name", "split", "note")
    return {
        **{name: getattr(item, name) for name in names},
        "list": "; ".join(item.lists),
        "picture": pictures.get(item.key, ""),
        "predictions": [[each.model, each.class_name, each.probability] for each in item.predictions],
        "partner": item.partner and _item(item.partner, pictures),
    }
