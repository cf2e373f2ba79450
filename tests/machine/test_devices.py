"""Devices: nvidia-smi's answers, CUDA_VISIBLE_DEVICES, the slots, the cores a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.machine import devices
from sweeper.machine.devices import MIB, Gpu, gpus, slots, usable_cores
from sweeper.words.errors import ConfigError

THREE = """\
0, GPU-aaaa-0000, NVIDIA H200, 143771, 143000
1, GPU-bbbb-1111, Quadro, RTX 6000, 24576, 1024
2, GPU-cccc-2222, NVIDIA GB10, [N/A], [Not Supported]
"""
A, B = (Gpu(index, f"GPU-{index}", "test", 8 * MIB, 4 * MIB) for index in (0, 3))


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a fake nvidia-smi, and nothing else, on PATH; returns a function that says what it does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def answer(output="", script=""):
        (tmp_path / "answer").write_text(output)
        fake = tmp_path / "nvidia-smi"
        fake.write_text(f"#!/bin/sh\n{script}\nwhile read -r line; do echo \"$line\"; done < '{tmp_path}/answer'\n")
        fake.chmod(0o755)

    return answer


def test_gpus_are_read(nvidia_smi):
    nvidia_smi(THREE)
    assert gpus() == [
        Gpu(0, "GPU-aaaa-0000", "NVIDIA H200", 143771 * MIB, 143000 * MIB),
        Gpu(1, "GPU-bbbb-1111", "Quadro, RTX 6000", 24576 * MIB, 1024 * MIB),
        Gpu(2, "GPU-cccc-2222", "NVIDIA GB10", 0, 0),
    ]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,1,2", [0, 1, 2]),
        ("2, 0", [2, 0]),
        ("GPU-bbbb-1111", [1]),
        ("GPU-cc,1", [2, 1]),
        ("1,1", [1]),
        ("1,-1,2", [1]),
        ("1,7,2", [1]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_cuda_visible_devices_is_respected(nvidia_smi, monkeypatch, visible, expected):
    nvidia_smi(THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in gpus()] == expected


def test_a_mig_slice_stays_the_device(nvidia_smi, monkeypatch):
    nvidia_smi(THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert slots(1, cores=1)[0].environment["CUDA_VISIBLE_DEVICES"] == "MIG-1234"


def test_an_unknown_device_is_told(nvidia_smi, monkeypatch, caplog):
    nvidia_smi(THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert gpus() == []
    assert "'7'" in caplog.text


def test_without_nvidia_smi_there_is_no_gpu_and_no_word(nvidia_smi, caplog):
    assert gpus() == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'driver not loaded' >&2; exit 9", "ended with code 9, so no GPU is used. It says: driver not loaded"),
        ("echo nonsense; exit 0", "no usable answer"),
        ("exec /bin/sleep 20", "timed out"),
    ],
)
def test_a_failing_nvidia_smi_is_told(nvidia_smi, caplog, script, said):
    nvidia_smi(script=script)
    assert gpus(timeout_seconds=1.0) == []
    assert said in caplog.text


def test_one_slot_per_gpu():
    first, second = slots(gpus=[A, B], cores=9)
    assert (first.index, first.name, first.device, first.threads) == (0, "gpu 0", "cuda:0", 4)
    assert (second.index, second.name, second.device, second.threads) == (1, "gpu 3", "cuda:0", 4)
    assert second.environment == {"CUDA_VISIBLE_DEVICES": "GPU-3", "OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}


def test_more_workers_than_gpus_share_them_in_turn():
    assert [slot.name for slot in slots(5, gpus=[A, B], cores=2)] == ["gpu 0", "gpu 3", "gpu 0", "gpu 3", "gpu 0"]
    assert {slot.threads for slot in slots(5, gpus=[A, B], cores=2)} == {1}


def test_fewer_workers_than_gpus_take_the_first():
    assert [slot.name for slot in slots(1, gpus=[A, B], cores=8)] == ["gpu 0"]


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (8, 4, 2), (64, 4, 16)])
def test_cpu_workers_by_default(cores, workers, threads):
    found = slots(gpus=[], cores=cores)
    assert [(slot.device, slot.name, slot.threads) for slot in found] == [("cpu", "cpu", threads)] * workers
    assert "CUDA_VISIBLE_DEVICES" not in found[0].environment


def test_slots_ask_the_machine(nvidia_smi):
    nvidia_smi(THREE)
    assert [slot.name for slot in slots()] == ["gpu 0", "gpu 1", "gpu 2"]


@pytest.mark.parametrize(
    "arguments", [{"workers": 0, "cores": 2}, {"workers": -1, "cores": 2}, {"workers": 1, "cores": 0}]
)
def test_numbers_below_one_are_refused(arguments):
    with pytest.raises(ConfigError, match=">= 1` must hold, but got"):
        slots(gpus=[], **arguments)


def cgroup(folder: Path, files: dict[str, str], own: str = "0::/\n") -> dict[str, Path]:
    for name, text in files.items():
        (folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / name).write_text(text)
    (folder / "own").write_text(own)
    return {"cgroup_root": folder / "root", "own_cgroup": folder / "own"}


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, "0::/\n", 64),
        ({"cpu.max": "250000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "50000 100000\n"}, "0::/\n", 1),
        ({"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, "0::/a/b\n", 3),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", 64),
        ({}, "", 64),
    ],
)
def test_a_containers_quota_counts(tmp_path, monkeypatch, files, own, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert usable_cores(**cgroup(tmp_path, files, own)) == expected


def test_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert usable_cores(**cgroup(tmp_path, {})) == 3


def test_it_does_not_import_torch():
    code = "import sys; from sweeper.machine.devices import slots; slots(); sys.exit('torch' in sys.modules)"
    root = Path(devices.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
