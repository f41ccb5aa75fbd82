"""The kept summaries of modules' syntax: the same as without, whatever is in the file."""

from pathlib import Path

import pytest

from tasks.core.stage import syntax, syntax_cache

TEXT = "import os\nfrom tasks.core import errors\n\n\ndef add(a, b):\n    '''Prose.'''\n    return a + b\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path))
    return tmp_path / "code"


def again(text: str) -> tuple[str, list[str]]:
    """The summary in a process that has not seen the text."""
    syntax_cache._new.clear()
    syntax_cache._stored.cache_clear()
    return syntax_cache.read(text)


def test_a_summary_is_kept_and_an_edited_text_is_parsed(folder: Path) -> None:
    expected = syntax.summarized(TEXT)
    assert expected[1] == ["os", "tasks.core", "tasks.core.errors"]
    assert again(TEXT) == expected
    syntax_cache.keep()
    assert len(list(folder.iterdir())) == 1
    assert again(TEXT) == expected
    assert not syntax_cache._new  # it was not parsed
    assert again(TEXT.replace("a + b", "a - b")) == syntax.summarized(TEXT.replace("a + b", "a - b"))
    assert again(TEXT.replace("Prose", "Words"))[0] == expected[0]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"summaries": {"x": 1}}'])
def test_a_damaged_file_is_not_used(folder: Path, content: bytes) -> None:
    expected = again(TEXT)
    syntax_cache.keep()
    (file,) = folder.iterdir()
    for damaged in (content, file.read_bytes().replace(expected[0].encode(), b"0" * 16)):
        file.write_bytes(damaged)
        assert again(TEXT) == expected


def test_a_folder_that_cannot_be_written_costs_only_time(folder: Path) -> None:
    folder.write_text("a file where the folder should be", encoding="utf-8")
    assert again(TEXT) == syntax.summarized(TEXT)
    syntax_cache.keep()
