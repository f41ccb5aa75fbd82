"""Which tests a call of pytest selects: stress tests take hours, and run only where they are asked for."""

import subprocess
import sys

import pytest

from tests.support.run_cli import ROOT

pytestmark = pytest.mark.slow
WITH_STRESS_TESTS = "tests/core/runs/table_files/test_filling.py"


@pytest.mark.parametrize(
    ("options", "is_selected"),
    [((), False), (("-m", "not slow"), False), (("-m", "stress or not stress"), True)],
)
def test_stress_tests_are_selected_only_where_m_names_them(
    options: tuple[str, ...], is_selected: bool
) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, WITH_STRESS_TESTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("test_writer_killed_at_any_moment" in done.stdout) is is_selected
    assert done.stdout.count("::") > 1
