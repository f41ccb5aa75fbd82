"""What a workspace in an object store costs: requests and bytes, beside copying the whole bucket.

    python benchmarks/object_store.py

The store is moto, an S3 server on this machine's loopback, so requests and bytes are what counts: on a store
far away each request adds its way there and back. Every machine of the table has a mirror of its own, empty
at first. The rival is a synced copy (`aws s3 sync`), which brings every object before a command can begin.
Digits, one epoch, seed 0, n = 1; requests and bytes hardly vary.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.servers.s3_server import ADDRESS, Bucket, half_visible  # noqa: E402

TRAIN = ("flows/train_flow.py", "--epochs", "1")
RUNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("a first run", "one", TRAIN),
    ("the same run again, nothing changed", "one", TRAIN),
    ("the same run on a second machine", "two", TRAIN),
    ("a third machine, another policy: nothing to train", "three", (*TRAIN, "--promote", "not-worse")),
    (
        "a fourth machine, another seed: trains, and is held against the champion",
        "four",
        (*TRAIN, "--seed", "1"),
    ),
    ("plumbline models list, on a fifth", "five", ("-m", "flows", "models", "list")),
    ("plumbline models show digits, there", "five", ("-m", "flows", "models", "show", "digits")),
)


def main() -> None:
    """Run the commands one after the other; print a row each."""
    bucket = Bucket()
    base = Path(tempfile.mkdtemp(prefix="plumbline-store-"))
    environment = os.environ | bucket.environment | {"PREFECT_HOME": str(base / "prefect")}
    environment |= {"PREFECT_SERVER_API_PORT": "1", "PYTHONPATH": str(ROOT)}
    print("| command | writes | reads | lists | MB up | MB down | a whole copy, MB |")
    print("|---" * 7 + "|")
    for words, machine, arguments in RUNS:
        copy = sum(map(len, bucket.objects().values()))
        bucket.forget()
        command(arguments, environment | {"PLUMBLINE_MIRROR": str(base / machine)})
        lists = bucket.count("GET", "^$")
        print(
            f"| {words} | {bucket.methods()['PUT']} | {bucket.count('GET') + bucket.count('HEAD') - lists} "
            f"| {lists} | {bucket.received / 1e6:.2f} | {bucket.sent / 1e6:.2f} | {copy / 1e6:.2f} |",
            flush=True,
        )
    print(f"half visible: {half_visible(bucket.objects()) or 'nothing'}")
    bucket.close()


def command(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Run a command, which must succeed."""
    subprocess.run(
        [sys.executable, *arguments, "--workspace", ADDRESS],
        env=environment,
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
