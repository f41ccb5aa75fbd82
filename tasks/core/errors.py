"""The error tree. Every error has a summary, and says what was expected, found and done, and what to do.

PlumblineError
├── UsageError                wrong usage (exit code 2)
├── DataError                 wrong input data
│   ├── ChecksumError         a wrong SHA-256
│   ├── ArchiveError          an archive that is unreadable or unsafe
│   ├── DecodeError           an unreadable image
│   └── QuarantineError       too many unusable images
├── NetworkError              a failed transfer; may be retried
├── TrainingError             a failed training
│   ├── DivergedError         the loss is too large or not finite
│   ├── OverfitCheckError     one batch was not overfitted
│   ├── LostWorkerError       a process of a distributed training ended
│   └── InterruptedTraining   a training that was told to stop
├── ServerError               Prefect's temporary server does not start
├── MachineError              the operating system refused: no space, no permission, a name too long, ...
├── FormatError               a file that is incomplete or has an unknown format
│   └── DamagedOutputError    a stage's output whose bytes have changed; it can be built again
└── RegistryError             a model that is missing, damaged or refused
"""

from tasks.core.addresses import without_secrets


class PlumblineError(Exception):
    """An error that the user can act on; it is shown without a traceback, and without secrets of addresses.

    Args:
        summary: One sentence without a full stop, which names the file, option or dataset concerned.
        expected: What was expected.
        found: What was found instead.
        done: What happened to files and finished work, such as "nothing was written".
        todo: What the user can do next.
    """

    exit_code = 1

    def __init__(
        self, summary: str, *, expected: str = "", found: str = "", done: str = "", todo: str = ""
    ) -> None:
        self.summary = without_secrets(summary)
        super().__init__(self.summary)
        parts = {"expected": expected, "found": found, "done": done, "to do": todo}
        self.parts = {name: without_secrets(text) for name, text in parts.items()}

    def __str__(self) -> str:
        return "\n".join(
            [self.summary, *(f"  {name:<9} {text}" for name, text in self.parts.items() if text)]
        )


class UsageError(PlumblineError):
    """An option, argument or input that cannot be used; the exit code is 2."""

    exit_code = 2


class DataError(PlumblineError):
    """Input data that are not as expected."""


class ChecksumError(DataError):
    """Bytes whose SHA-256 is not the expected one."""


class ArchiveError(DataError):
    """An archive that cannot be read, or must not be for safety."""


class DecodeError(DataError):
    """An image that cannot be decoded; its text becomes the reason in the quarantine table."""


class QuarantineError(DataError):
    """A larger share of the images than allowed is in quarantine."""


class NetworkError(PlumblineError):
    """A failed transfer that may succeed later; the download and predict tasks retry it."""


class TrainingError(PlumblineError):
    """A training that cannot continue."""


class DivergedError(TrainingError):
    """A training whose loss is too large or not finite."""


class OverfitCheckError(TrainingError):
    """A recipe that did not overfit one batch."""


class LostWorkerError(TrainingError):
    """Another process of a distributed training ended."""


class InterruptedTraining(TrainingError):  # noqa: N818 - follows a request, not an error
    """A training that was told to stop; the next run resumes from its checkpoint."""


class ServerError(PlumblineError):
    """Prefect's temporary server that does not start."""


class MachineError(PlumblineError):
    """The operating system refused: the disk is full, a file may not be written, a name is too long, ..."""


class FormatError(PlumblineError):
    """A file of an unknown format version, or an incomplete file or directory."""


class DamagedOutputError(FormatError):
    """A stage's output whose bytes have changed since it was written; the next run builds it again."""


class RegistryError(PlumblineError):
    """A published model that is missing or damaged, or a change of the registry that is refused."""
