"""What a command found before its run began, while it looked whether anything has changed.

The look lists the source as the run's first stage does. A run that follows counts what the look wrote as its
own, and repeats the warnings of files that are shown once a process.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class FirstLook:
    """The look of this process.

    Args:
        began: When it began, UTC; None if there was none.
        warnings: The warnings that the run shall repeat.
    """

    began: datetime | None = None
    warnings: list[logging.LogRecord] = field(default_factory=list)


this = FirstLook()


def taken(started: datetime) -> datetime:
    """Repeat the warnings, once, for the run that starts now.

    Args:
        started: When the run started, UTC.

    Returns:
        From when on the run counts what is written as its own: the begin of the look, or of the run.
    """
    began, warnings = this.began, this.warnings
    this.began, this.warnings = None, []
    for record in warnings:
        logging.getLogger(record.name).handle(record)
    return began or started
