"""The quick form of the benchmarks in one go: one JSON file and one page, in some ten minutes.

    python benchmarks/all.py                                    # writes benchmarks/out/bench.json and .md
    python benchmarks/all.py --only start evaluation --rounds 5
    python benchmarks/all.py --images cifar10/train             # a folder of class folders with 32x32 JPEGs

Rivals are measured in turn (A B A B). A ratio is taken within each round; the page has its median, its least
and its largest value. CPU-seconds count children, too; on a machine that others use they say more than wall
time. Without --images, the small images are scikit-learn's digits, enlarged. `make bench` is this command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pairs, quick, result_pages
from benchmarks.pairs import ROOT


def commit() -> str:
    """The commit of this code, with + if files differ from it; empty without git."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def measure(names: list[str], rounds: int, images: Path) -> Iterator[dict[str, Any]]:
    """Every topic in a process of its own. A topic that fails is named, and stops no other.

    Yields:
        The result so far, after each topic.
    """
    result: dict[str, Any] = {
        "format": 1,
        "command": "make bench",
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": pairs.machine(),
        "load_before": pairs.load(),
        "rounds": rounds,
        "rows": [],
        "failed": {},
    }
    for name in names:
        print(f"{name} ...", file=sys.stderr, end="", flush=True)
        began = time.monotonic()
        try:
            result["rows"] += pairs.last_line([ROOT / "benchmarks" / "quick.py", name, images, rounds])
        except RuntimeError as error:
            result["failed"][name] = str(error).strip().splitlines()[-1]
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        yield result | {"load_after": pairs.load()}


def write(result: dict[str, Any], folder: Path) -> str:
    """Write both files; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = result_pages.quick_page(result)
    (folder / "bench.md").write_text(page, encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=quick.TOPICS, default=list(quick.TOPICS), help="topics")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way")
    parser.add_argument("--images", type=Path, help="a folder of class folders with JPEGs of 32x32")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "out", help="the folder of both files"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        images = given.images.resolve() if given.images else quick.small_images(Path(scratch) / "digits")
        for result in measure(given.only, given.rounds, images):
            page = write(result, given.out)
    print(page)
    if result["failed"]:
        raise SystemExit(f"failed: {result['failed']}")


if __name__ == "__main__":
    main()
