"""What the licence of a backbone's weights asks of a model that contains them: its text and a notice."""

from pathlib import Path

from tasks.core.model.backbones.declaration import Backbone

TEXTS = Path(__file__).parent / "texts"
NOTICE = "NOTICE.txt"
LICENCE = "LICENSE-backbone.txt"
FILES = (NOTICE, LICENCE)  # a published version has them beside `model.keras`


def write_notice(backbone: Backbone, directory: Path) -> None:
    """Write the licence and the notice of changes of a backbone's weights beside a model.

    Args:
        backbone: Its declaration.
        directory: The directory of the model.
    """
    lines = [
        "model.keras contains weights that others trained:",
        f"  {backbone.source}.",
        f"  The original file, {backbone.weights.name}: {backbone.weights.checksum}.",
        f"  Changes: {backbone.changes}",
        f"  Licence: {backbone.licence}; its text is in {LICENCE}."
        if backbone.licence
        else "  Licence: not known to Plumbline; ask whoever made the file before you pass the model on.",
        "The rest of the model was trained on the user's own images.",
    ]
    (directory / NOTICE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if backbone.licence:
        text = (TEXTS / f"{backbone.licence}.txt").read_text(encoding="utf-8")
        copyright_notice = f"{backbone.copyright}\n\n" if backbone.copyright else ""
        (directory / LICENCE).write_text(copyright_notice + text, encoding="utf-8")
