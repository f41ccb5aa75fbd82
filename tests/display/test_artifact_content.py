"""What the artifacts of a run in the dashboard contain."""

from pathlib import Path

import pytest

from tasks.display import artifact_content

PAGE = Path("/workspace/reports/0123456789abcdef/report.html")


def test_the_summary_names_the_file_where_no_server_shows_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    for unusable in ("", "server:8000"):
        monkeypatch.setenv("PLUMBLINE_SERVE_URL", unusable)
        text = artifact_content.of_summary("digits", "v0001", "## digits", PAGE).data
        assert str(text).startswith("## digits")
        assert "`file:///workspace/reports/0123456789abcdef/report.html`" in text
        assert "](" not in text


def test_the_summary_links_to_the_page_of_plumbline_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_SERVE_URL", "https://models.example/plumbline/")
    text = artifact_content.of_summary("digits", "v0001", "## digits", PAGE).data
    address = "https://models.example/plumbline/workspace/reports/0123456789abcdef/report.html"
    assert text == f"[The whole report]({address})\n\n## digits"


def test_datasets_whose_names_look_alike_as_keys_have_different_ones() -> None:
    names = ["my-photos", "my photos", "My-Photos", "my_photos", "\u82b1", "\u732b"]
    keys = [artifact_content.key("summary", name) for name in names]
    assert len(set(keys)) == len(names)
    assert keys[0] == "summary-my-photos"
