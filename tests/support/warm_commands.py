"""Runs commands in forks of a process that has all libraries: 6 instead of 13 CPU-seconds for a training.

The process reads a JSON line for each command from stdin, and answers with a line: the exit code. A command
sees its own arguments, environment and folder, as in a process of its own.
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from tests.support.run_cli import ROOT, Plumbline

COMMANDS = {
    "flows/train_flow.py": ("train",),
    "flows/sweep_flow.py": ("sweep",),
    "flows/predict_flow.py": ("predict",),
    "flows/evaluate_flow.py": ("evaluate",),
    "flows/__main__.py": (),
}


@dataclass(frozen=True)
class WarmPlumbline(Plumbline):
    """As `Plumbline`; `run` forks.

    Args:
        process: The process that has imported the libraries, with the Prefect server of its environment.
    """

    process: "subprocess.Popen[str] | None" = None

    def at(self, workspace: Path) -> "WarmPlumbline":
        """The same for another workspace, which is the default of all commands."""
        environment = self.environment | {"PLUMBLINE_WORKSPACE": str(workspace)}
        return replace(self, environment=environment, workspace=workspace)

    def run(
        self, script: str, *arguments: object, python: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; with options of the interpreter or other code, in a process of its own."""
        if python or self.root != ROOT:
            return super().run(script, *arguments, python=python)
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        words = ["plumbline", *COMMANDS[script], *map(str, arguments)]
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            task = {"words": words, "environment": self.environment, "out": str(out), "err": str(err)}
            print(json.dumps(task | {"cwd": str(self.workspace.parent)}), file=self.process.stdin, flush=True)
            code = int(self.process.stdout.readline())
            return subprocess.CompletedProcess(
                words, code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
            )


@contextmanager
def warm(environment: dict[str, str]) -> Iterator[WarmPlumbline]:
    """Start the process; it ends with the block.

    Args:
        environment: With PREFECT_API_URL: Prefect reads its settings when it is imported.
    """
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield WarmPlumbline(environment, Path("/"), process=process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(60)


def serve() -> int:
    """Answer command after command. Returns the exit code, in a fork that of its command."""
    from tasks.core.operations import environment

    environment.prepare_command()
    # TensorFlow has no threads before its first operation, so that a fork can use it.
    import keras  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import tensorflow  # noqa: F401

    import flows.evaluate_flow
    import flows.predict_flow
    import flows.sweep_flow
    import flows.train_flow  # noqa: F401

    gc.freeze()  # a collection in a fork would copy every page of the libraries' objects
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if not child:
            _end(_run(**task))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _run(words: list[str], environment: dict[str, str], out: str, err: str, cwd: str) -> int:
    from flows import __main__ as command_line

    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    try:
        command_line.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End a fork as the interpreter ends, but for the 1 CPU-second in which it frees all modules."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(serve())
