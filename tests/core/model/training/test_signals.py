import signal
import threading
from collections.abc import Iterator

import pytest

from tasks.core.model.training import signals


class AlarmError(Exception):
    """What the test's own handler raises, as Prefect's timeout does."""


def alarm(*_: object) -> None:
    raise AlarmError


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.HELD}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raised_in_a_block(*numbers: int, then: Exception | None = None) -> list[str]:
    """Raise signals in a block that holds them back; gives how far the block came."""
    reached = []
    try:
        with signals.deferred_signals():
            for number in numbers:
                signal.raise_signal(number)
            reached.append("the end")
            if then:
                raise then
    except (KeyboardInterrupt, AlarmError) as error:
        reached.append(type(error).__name__)
        reached += [type(error.__context__).__name__] if then else []
    return reached


@pytest.mark.parametrize(
    ("number", "handler", "raised"),
    [
        (signal.SIGINT, signal.default_int_handler, "KeyboardInterrupt"),
        (signal.SIGTERM, alarm, "AlarmError"),
        (signal.SIGALRM, alarm, "AlarmError"),
    ],
)
def test_a_signal_waits_for_the_end_of_the_block(number: int, handler: object, raised: str) -> None:
    signal.signal(number, handler)  # type: ignore[arg-type]
    assert raised_in_a_block(number) == ["the end", raised]
    assert signal.getsignal(number) is handler


def test_a_timer_that_runs_out_meanwhile_waits_too() -> None:
    heard = []
    signal.signal(signal.SIGALRM, lambda *_: heard.append("alarm"))
    with signals.deferred_signals():
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        threading.Event().wait(0.1)
        heard.append("the end")
    assert heard == ["the end", "alarm"]


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert raised_in_a_block(signal.SIGTERM) == ["the end"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_failing_block_still_hands_the_signal_on() -> None:
    signal.signal(signal.SIGTERM, alarm)
    assert raised_in_a_block(signal.SIGTERM, then=ValueError()) == ["the end", "AlarmError", "ValueError"]


def test_other_threads_are_left_alone() -> None:
    done = []

    def work() -> None:
        with signals.deferred_signals():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
