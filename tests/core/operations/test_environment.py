import logging

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from tasks.core.operations import environment


def test_only_handlers_of_prefect_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest, for one, lends its handlers to loggers that do not propagate: a copy would stay for good."""
    own, foreign = PrefectConsoleHandler(), logging.NullHandler()
    monkeypatch.setattr(logging.getLogger("prefect.extra"), "handlers", [own, foreign])
    log = logging.getLogger("plumbline")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    environment.prepare()
    environment.prepare()
    assert log.handlers == [own]
