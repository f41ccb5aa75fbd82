"""GPUs that the machine has and TensorFlow cannot use: they are counted and reported."""

import logging
from pathlib import Path

import pytest
import tensorflow as tf

from tasks.core.model.devices import device, gpu
from tasks.core.operations.doctor import diagnostics
from tasks.core.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def two_unusable_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two GPUs, by its device files, that TensorFlow cannot use."""
    for function in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, function, lambda device_type: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()


def test_nvidia_gpu_count_counts_visible_device_files(
    two_unusable_gpus: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert gpu.nvidia_gpu_count() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu.nvidia_gpu_count() == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(gpu, "DEVICES", tmp_path / "none")
    assert gpu.nvidia_gpu_count() == 0


def test_everything_with_unusable_gpus_logs_a_warning(
    two_unusable_gpus: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "plumbline.train"):
        device.everything.__wrapped__()
    assert "2 GPU(s) are idle" in caplog.text
    assert ".[gpu]" in caplog.text


def test_doctor_with_unusable_gpus_reports_them(two_unusable_gpus: None, workspace: Workspace) -> None:
    (finding,) = [check for check in diagnostics.run_checks(workspace) if check.about == "devices"]
    assert finding.found.startswith("2 GPU(s)")
    assert finding.found.endswith(gpu.IDLE)
    assert finding.fix == gpu.HOW_TO_FIX
