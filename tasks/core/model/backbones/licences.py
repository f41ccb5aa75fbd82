"""What the licence of a backbone's weights asks of a model that contains them: its text and a notice."""

import shutil
from pathlib import Path

from tasks.core.model.backbones.catalog import Backbone

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
    text = TEXTS / f"{backbone.licence}.txt"
    lines = [
        "model.keras contains weights that others trained:",
        f"  {backbone.source}.",
        f"  SHA-256 of the original file: {backbone.weights.sha256}.",
        f"  Changes: {backbone.changes}",
        f"  Licence: {backbone.licence}; its text is in {LICENCE}.",
        "The rest of the model was trained on the user's own images.",
    ]
    (directory / NOTICE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copyfile(text, directory / LICENCE)
