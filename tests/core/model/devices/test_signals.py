"""Deferring of stop signals in a block."""

import signal
import threading
from collections.abc import Iterator

import pytest

from tasks.core.model.devices import signals


class AlarmError(Exception):
    """Raised by the test's handler, as Prefect's timeout raises an error."""


def alarm(*_: object) -> None:
    """Signal handler that raises."""
    raise AlarmError


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    """Restores the signal handlers after each test."""
    handlers = {number: signal.getsignal(number) for number in signals.DEFERRED}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def raise_in_block(*numbers: int, then: Exception | None = None) -> list[str]:
    """Raise signals in a block that defers them; returns the events in their order."""
    events = []
    try:
        with signals.deferred_signals():
            for number in numbers:
                signal.raise_signal(number)
            events.append("the end")
            if then:
                raise then
    except (KeyboardInterrupt, AlarmError) as error:
        events.append(type(error).__name__)
        events += [type(error.__context__).__name__] if then else []
    return events


@pytest.mark.parametrize(
    ("number", "handler", "raised"),
    [
        (signal.SIGINT, signal.default_int_handler, "KeyboardInterrupt"),
        (signal.SIGTERM, alarm, "AlarmError"),
        (signal.SIGALRM, alarm, "AlarmError"),
    ],
)
def test_deferred_signals_deliver_signal_after_the_block(number: int, handler: object, raised: str) -> None:
    signal.signal(number, handler)  # type: ignore[arg-type]
    assert raise_in_block(number) == ["the end", raised]
    assert signal.getsignal(number) is handler


def test_deferred_signals_deliver_alarm_of_a_timer_after_the_block() -> None:
    events = []
    signal.signal(signal.SIGALRM, lambda *_: events.append("alarm"))
    with signals.deferred_signals():
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        threading.Event().wait(0.1)
        events.append("the end")
    assert events == ["the end", "alarm"]


def test_deferred_signals_with_ignored_signal_keep_it_ignored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert raise_in_block(signal.SIGTERM) == ["the end"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_deferred_signals_with_failing_block_deliver_signal() -> None:
    signal.signal(signal.SIGTERM, alarm)
    assert raise_in_block(signal.SIGTERM, then=ValueError()) == ["the end", "AlarmError", "ValueError"]


def test_deferred_signals_in_another_thread_do_nothing() -> None:
    done = []

    def work() -> None:
        with signals.deferred_signals():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
