"""What the console prints is text: names of files and classes are never read as markup."""

import pytest

from tasks.display import console

HOSTILE = ["[red]x.jpg", "a[/b].jpg", "b].jpg", "[/red]", "[link=x]y"]


def test_names_with_square_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"path": name, "row": None, "predicted_class_name": name, "problem": "", "probability": 0.5}
        for name in HOSTILE
    ]
    with console.console.capture() as captured:
        console.predictions(rows, len(rows))
        console.console.print(f"removed: {' '.join(HOSTILE)}")
    printed = captured.get() + capsys.readouterr().out
    for name in HOSTILE:
        assert printed.count(name) >= 3  # path, class, and the list
