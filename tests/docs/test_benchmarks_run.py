"""`make bench` measures each of its topics, without anything that has to be given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import quick

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.stress  # more than 5 minutes
def test_make_bench_measures_every_topic(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "all.py", "--rounds", "1", "--out", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert result["failed"] == {}
    assert done.returncode == 0, done.stderr
    assert len({row["topic"] for row in result["rows"]}) == len(quick.TOPICS)
