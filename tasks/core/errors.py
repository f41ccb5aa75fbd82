"""The error tree. Every error says what was expected, found and done, and what to do.

PlumblineError
├── UsageError            what was asked for cannot be (exit code 2)
├── DataError             the data are not what they should be
│   ├── ChecksumError     bytes other than the expected ones
│   ├── ArchiveError      an archive that cannot or must not be read
│   ├── DecodeError       one image that cannot be read (becomes a quarantine row)
│   └── QuarantineError   too large a share of the images had to be set aside
├── NetworkError          worth another try
├── TrainingError         training cannot go on
│   ├── DivergedError     the loss is not a number any more
│   ├── SanityError       one batch was not learned by heart
│   ├── LostWorkerError   another process of a distributed training is gone
│   └── InterruptedTraining   asked to stop; the next run goes on from the checkpoint
├── ServerError           Prefect's temporary server does not start
├── FormatError           a file of an unknown format version, or not a whole one
└── RegistryError         a model version that is missing, damaged or refused
"""


class PlumblineError(Exception):
    """A failure that a person can act on.

    Args:
        summary: One sentence, without a full stop, that names the thing it is about.
        expected: What should have been there.
        found: What was there instead.
        done: What happened to the work and to files ("nothing was written").
        todo: What the reader can do next.
    """

    exit_code = 1

    def __init__(
        self, summary: str, *, expected: str = "", found: str = "", done: str = "", todo: str = ""
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.parts = {"expected": expected, "found": found, "done": done, "to do": todo}

    def __str__(self) -> str:
        return "\n".join(
            [self.summary, *(f"  {name:<9} {text}" for name, text in self.parts.items() if text)]
        )


class UsageError(PlumblineError):
    exit_code = 2


class DataError(PlumblineError):
    pass


class ChecksumError(DataError):
    pass


class ArchiveError(DataError):
    pass


class DecodeError(DataError):
    pass


class QuarantineError(DataError):
    pass


class NetworkError(PlumblineError):
    pass


class TrainingError(PlumblineError):
    pass


class DivergedError(TrainingError):
    pass


class OverfitCheckError(TrainingError):
    pass


class LostWorkerError(TrainingError):
    pass


class InterruptedTraining(TrainingError):  # noqa: N818 - a request that was met, not a fault
    pass


class ServerError(PlumblineError):
    pass


class FormatError(PlumblineError):
    pass


class RegistryError(PlumblineError):
    pass
