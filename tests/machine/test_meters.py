from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from sweeper.machine.meters import CpuMeter, GpuMeter, Meter, memory_limit
from sweeper.words.records import Load


class NVMLError(Exception):
    pass


class Nvml:
    """NVML with two GPUs; `tells` says what it knows of them."""

    NVMLError = NVMLError
    uuids = ("GPU-aa", "GPU-bb")

    def __init__(self, *, tells: bool = True) -> None:
        self.tells, self.begun = tells, 0

    def nvmlInit(self) -> None:
        self.begun += 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        if uuid not in self.uuids:
            raise NVMLError("Not Found")
        return self.uuids.index(uuid)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> SimpleNamespace:
        if not self.tells:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=40 + gpu, memory=3)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:
        return SimpleNamespace(used=1_000 + gpu, total=8_000)


@pytest.fixture
def nvml(monkeypatch):
    made = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    return made


def test_a_gpu_is_asked_by_the_uuid_that_the_worker_sees(nvml) -> None:
    meter = Meter("cuda:0")
    assert meter.read() == meter.read() == Load(0.41, 1_001, 8_000)
    assert nvml.begun == 1


def test_a_gpu_is_asked_by_its_index_where_nothing_chooses(nvml, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Meter("cuda:1").read() == Load(0.41, 1_001, 8_000)
    assert Meter("cuda").read() == Load(0.4, 1_000, 8_000)


def test_a_slice_of_a_gpu_tells_its_memory_alone() -> None:
    assert GpuMeter(Nvml(tells=False), "GPU-aa").read() == Load(None, 1_000, 8_000)


@pytest.mark.parametrize("visible", ["GPU-unknown", "", "-1x"])
def test_a_gpu_that_nobody_knows_has_no_load(nvml, monkeypatch, visible) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Meter("cuda:0").read() == Load()


def test_without_pynvml_there_is_no_load(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Meter("cuda:0").read() == Load()


def test_a_driver_that_breaks_is_asked_no_more(nvml, monkeypatch) -> None:
    meter, asked = Meter("cuda:0"), []

    def broken(gpu: int) -> None:
        asked.append(gpu)
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr(nvml, "nvmlDeviceGetMemoryInfo", broken)
    assert meter.read() == meter.read() == Load()
    assert asked == [1]


def test_a_cpu_worker_is_busy_by_the_share_of_its_cores_since_it_was_asked_last() -> None:
    times = iter([(10.0, 100.0), (12.0, 104.0), (28.0, 108.0), (28.0, 108.0)])
    meter = CpuMeter(cores=2, clock=lambda: next(times))
    assert meter.read().share == pytest.approx(2 / 4 / 2)
    assert meter.read().share == 1.0  # clocks that differ a little make no more of it
    assert meter.read().share is None


def test_a_process_tells_its_memory() -> None:
    load = Meter("cpu", 1).read()
    if os.path.exists("/proc/self/statm"):
        assert load.memory_bytes is not None
        assert load.memory_total_bytes is not None
        assert 1e6 < load.memory_bytes < load.memory_total_bytes


def test_the_least_limit_of_the_groups_above_is_the_memory_that_there_is(tmp_path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    (root / "job" / "step").mkdir(parents=True)
    own.write_text("0::/job/step\n")
    machine = memory_limit(root, own)
    (root / "job" / "memory.max").write_text("1000000\n")
    (root / "job" / "step" / "memory.max").write_text("max\n")
    assert memory_limit(root, own) == 1_000_000
    (root / "job" / "memory.max").write_text("max\n")
    assert memory_limit(root, own) == machine
    (root / "memory").mkdir()
    (root / "memory" / "memory.limit_in_bytes").write_text("5000")
    assert memory_limit(root, own) == 5_000
