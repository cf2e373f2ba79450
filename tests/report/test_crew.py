from __future__ import annotations

import doctest
from dataclasses import replace

from sweeper.analysis.progress import WorkerStand
from sweeper.report.terminal import crew

GIB = 2**30
GPU = WorkerStand("node", 7, "cuda:0", "local", 9.0, 12, "gpu 1", None, 0.78, 31 * GIB, 80 * GIB)
CPU = WorkerStand("node", 8, "cpu", "local", 9.0, None, "cpu", None, 0.06, GIB // 2, None)


def test_examples() -> None:
    assert doctest.testmod(crew).failed == 0


def test_a_line_for_each_worker_with_what_is_known() -> None:
    assert crew.lines([GPU, CPU]) == [
        "gpu 1  ▇▇▇▇▇▇▁▁  78 %  31/80 GiB  trial 12",
        "cpu    ▁▁▁▁▁▁▁▁   6 %    0.5 GiB  idle",
    ]
    assert crew.lines([replace(GPU, load=None), replace(CPU, load=None)]) == [
        "gpu 1  31/80 GiB  trial 12",
        "cpu      0.5 GiB  idle",
    ]


def test_nothing_is_known_of_a_worker_that_has_told_nothing() -> None:
    silent = replace(GPU, load=None, memory_bytes=None)
    assert not crew.is_known([silent])
    assert crew.is_known([silent, CPU])


def test_hosts_are_named_where_there_are_several() -> None:
    assert crew.lines([GPU, replace(CPU, host="other")])[0].startswith("gpu 1 of node  ")


def test_many_share_a_line_that_fits() -> None:
    many = [replace(GPU, slot=f"gpu {index}") for index in range(9)]
    text = crew.line(many, 60)
    assert text == "gpu 0 78 % 31 GiB · gpu 1 78 % 31 GiB · and 7 more"
    assert crew.line(many[:2], 60) == "gpu 0 78 % 31 GiB · gpu 1 78 % 31 GiB"
    assert crew.line(many, 5) == "9 workers"
