"""Lines and tables that fit a terminal."""

from tasks.display import fit

STAGE = f"{'train':<13} {'finetune, 5 epochs, val accuracy 93.94 %':<66} 1 m 09 s"


def test_time_of_a_stage_stays_at_the_margin_of_a_narrower_terminal() -> None:
    shown = fit.wrapped(STAGE, 80, 14)
    assert shown == f"train         finetune, 5 epochs, val accuracy 93.94 %{'1 m 09 s':>26}"
    assert len(shown) == 80
    assert fit.wrapped(STAGE, 120, 14) == STAGE


def test_long_lines_break_between_words_below_their_text() -> None:
    line = "test size     375 images: a difference below 1.5 points is more likely missed than found"
    assert fit.wrapped(line, 60, 14).split("\n") == [
        "test size     375 images: a difference below 1.5 points is",
        "              more likely missed than found",
    ]
    path = f"report        {'/a' * 60}/report.html"
    assert "".join(fit.wrapped(path, 80, 14).split()) == "".join(path.split())
    assert f"{'/a' * 60}/report.html" in fit.wrapped(path, 80, 14).split()


def test_rows_too_wide_are_shown_as_names_and_values() -> None:
    rows = [{"run": "r1", "accuracy": "0.9"}, {"run": "r2", "accuracy": ""}]
    lines = list(fit.records(rows))
    assert lines == [" run       r1", " accuracy  0.9", "", " run       r2"]
    assert fit.indent_of(lines[0]) == len(" run       ")
