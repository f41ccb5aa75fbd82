"""GPUs that are there and GPUs that TensorFlow can use: not the same, and the user hears of it."""

import logging
from pathlib import Path

import pytest
import tensorflow as tf

from tasks.core.model.devices import device, gpu
from tasks.core.operations import diagnostics
from tasks.core.workspace import Workspace


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two GPUs, by its device files, that TensorFlow cannot use."""
    for listed in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, listed, lambda kind: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()


def test_device_files_are_counted(two: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert gpu.nvidia_gpu_count() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu.nvidia_gpu_count() == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(gpu, "DEVICES", tmp_path / "none")
    assert gpu.nvidia_gpu_count() == 0


def test_idle_gpus_are_told(two: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plumbline.train"):
        device.everything.__wrapped__()
    assert "2 GPU(s) lie idle" in caplog.text
    assert ".[gpu]" in caplog.text


def test_the_doctor_names_idle_gpus(two: None, workspace: Workspace) -> None:
    (finding,) = [found for found in diagnostics.run_checks(workspace) if found.about == "devices"]
    assert (finding.found, finding.fix) == ("2 GPU(s) lie idle, TensorFlow cannot use them", gpu.HOW_TO_FIX)
