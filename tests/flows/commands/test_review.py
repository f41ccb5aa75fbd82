"""`plumbline review` from the command to the trained model: a real server, a real browser, real keys."""

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.pages import chromium
from tests.support.pages.chromium import Chromium
from tests.support.processes.waiting import wait_until
from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.stress
QUICK = ("--recipe", "flash")
NAMES = ("0 <b>", '1 "one"', "2 'two' $HOME", "3 & drei", "4 четыре", "5", "6", "7", "8", "9")
CORRECTIONS = 20


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    executable = chromium.find()
    if executable is None:
        pytest.skip("there is no Chromium to drive: install chromium or google-chrome")
    with Chromium(executable, tmp_path / "browser") as started:
        yield started


@pytest.fixture(scope="module")
def reviewed(
    server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plumbline, Path, dict[str, int]]:
    """A run on digits of which 1 in 10 has a wrong label, their folder, and the true label by path."""
    root = tmp_path_factory.mktemp("review")
    digits, generator = load_digits(), np.random.default_rng(0)
    wrong = set(generator.choice(len(digits.target), len(digits.target) // 10, replace=False).tolist())
    truth = {}
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        given = (label + generator.integers(1, 10)) % 10 if number in wrong else label
        path = root / "digits folder" / NAMES[given] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).save(path)
        truth[f"{NAMES[given]}/{number:04}.png"] = int(label)
    plumbline = Plumbline(server, root / "workspace")
    plumbline.ok("--dataset", root / "digits folder", *QUICK)
    return plumbline, root / "digits folder", truth


def correct(browser: Chromium, truth: dict[str, int]) -> dict[str, str]:
    """Press the key of the true class, or space where the label is right, until 20 labels are corrected."""
    made: dict[str, str] = {}
    while len(made) < CORRECTIONS:
        path, given = browser.value("[items[now].path, items[now].class_name]")
        assert not browser.value("answers.has(now)"), f"only {len(made)} wrong labels are shown"
        label = truth[path]
        if NAMES[label] == given:
            browser.press(" ")
        else:
            browser.press(str(label))
            made[path] = NAMES[label]
    return made


def check_corrections(file: Path, made: dict[str, str]) -> None:
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    corrected = {row["path"]: row["corrected_class_name"] for row in rows if row["decision"] == "corrected"}
    assert corrected == made
    assert {row["user"] for row in rows} == {"ann"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"]) for row in rows)
    assert all(row["path"].startswith(f"{row['class_name']}/") for row in rows)


def check_training(plumbline: Plumbline, file: Path, folder: Path, made: dict[str, str]) -> None:
    """Train with the file; the manifest of the data has the corrections, and the tensors the new labels."""
    plumbline.ok("--dataset", folder, *QUICK, "--corrections", file)
    run = plumbline.runs().iloc[-1]
    stages = json.loads(run["stages"])
    manifest = json.loads(
        (plumbline.workspace / "raw" / stages["download"]["digest"] / "manifest.json").read_text()
    )
    assert manifest["facts"]["corrections"] == CORRECTIONS
    assert manifest["ingredients"]["inputs"]["corrections"]
    rows = pd.read_parquet(plumbline.workspace / "tensors" / stages["normalize"]["digest"] / "rows.parquet")
    trained_with = dict(zip(rows["path"], rows["class_name"], strict=True))
    assert {path: trained_with[path] for path in made} == made


@pytest.mark.timeout(1200)  # three trainings, on a loaded machine
def test_20_corrections_by_keyboard_are_saved_and_trained_with(
    reviewed: tuple[Plumbline, Path, dict[str, int]], browser: Chromium, tmp_path: Path
) -> None:
    plumbline, folder, truth = reviewed
    first = str(plumbline.runs().iloc[0]["run_id"])
    file = tmp_path / "my corrections.csv"
    command = [sys.executable, "-m", "flows", "review", first, "--out", str(file), "--user", "ann"]
    process = subprocess.Popen(
        [*command, "--workspace", str(plumbline.workspace)],
        env=plumbline.environment | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = next(line.strip() for line in process.stdout if line.startswith("http"))
    browser.open(address)
    made = correct(browser, truth)
    browser.press("x")  # leave one out, and take it back
    browser.press("u")
    browser.wait("unsaved === 0")
    assert "20 corrections" in browser.value("document.getElementById('summary').textContent")
    browser.open("about:blank")
    browser.open(address)
    assert browser.value("answers.size") >= CORRECTIONS  # the server remembers them
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""
    assert re.search(r"20 corrections, .* in .*my corrections\.csv; train with them:", out)
    assert f"--corrections '{file}'" in out
    assert f"--dataset '{folder}'" in out
    check_corrections(file, made)
    check_training(plumbline, file, folder, made)


@pytest.mark.timeout(1200)  # three trainings, on a loaded machine
def test_20_corrections_in_the_page_beside_the_report_are_downloaded_and_trained_with(
    reviewed: tuple[Plumbline, Path, dict[str, int]], browser: Chromium
) -> None:
    plumbline, folder, truth = reviewed
    report = plumbline.workspace / plumbline.runs().iloc[0]["report"]
    page = report.with_name("review.html")
    assert page.stat().st_size < 5_000_000
    browser.open(page.as_uri())
    browser.value("document.getElementById('user').value = 'ann'")
    made = correct(browser, truth)
    browser.press("ArrowLeft", "ArrowRight", "x", "u")
    browser.value("window.isOld = true")
    browser.call("Page.reload")
    browser.wait("!window.isOld && document.readyState === 'complete'")
    assert browser.value("answers.size") >= CORRECTIONS  # the page remembers them
    browser.value("document.getElementById('user').value = 'ann'")
    browser.value("document.getElementById('download').click()")
    file = browser.downloads / "corrections.csv"
    wait_until(file.exists)
    check_corrections(file, made)
    check_training(plumbline, file, folder, made)
