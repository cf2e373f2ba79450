from __future__ import annotations

import json
import platform
import subprocess
import sys

import torch

from sweeper.machine import devices, environment


def test_it_knows_versions_threads_and_the_processor():
    now = environment.now("cpu")
    assert now["python"] == platform.python_version()
    assert now["torch"] == torch.__version__
    assert now["threads"] == torch.get_num_threads()
    assert now["cpu"]
    assert now["gpu"] is None
    assert json.loads(json.dumps(now)) == now


def test_it_does_not_import_torch():
    code = """import sys; from sweeper.machine import environment as e
print(e.now("cpu")["threads"], "torch" in sys.modules)"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"OMP_NUM_THREADS": "3"}
    )
    assert answer.stdout.split() == ["3", "False"]


def test_a_gpu_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: [devices.Gpu(3, "GPU-1", "NVIDIA H200", 0, 0)])
    assert environment.now("cuda:0")["gpu"] == "NVIDIA H200"


def test_only_what_is_known_of_both_differs():
    then = {"torch": "2.12.0", "threads": 2, "gpu": None, "instructions": "AVX2"}
    now = {"torch": "2.13.0", "threads": 2, "gpu": "NVIDIA H200"}
    assert environment.differences(then, now) == [{"name": "torch", "then": "2.12.0", "now": "2.13.0"}]
