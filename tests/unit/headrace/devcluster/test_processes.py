"""Processes that are found again, and never mistaken for others."""

from __future__ import annotations

import dataclasses
import os
import sys

import pytest

from headrace.devcluster.processes import Processes


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.stop(grace_s=0)


def endless():
    return [sys.executable, "-S", "-c", "import signal; signal.pause()"]


def test_they_are_ended_in_reverse_order(processes):
    """What depends on others goes first."""
    processes.start("first", endless())
    processes.start("second", endless())
    alive = set(Processes(processes.directory).alive())

    assert alive == {"first", "second"}
    assert Processes(processes.directory).stop() == ["second", "first"]
    assert processes.alive() == {}
    assert processes.recorded() == []


def test_only_the_named_are_ended(processes):
    """Others go on."""
    processes.start("stays", endless())
    processes.start("goes", endless())

    assert processes.stop(["goes"]) == ["goes"]
    assert set(processes.alive()) == {"stays"}


def test_another_process_with_the_same_id_is_left_alone(processes):
    """The start time tells them apart: this very process survives."""
    started = processes.start("gone", endless())
    mistaken = dataclasses.replace(started, name="mistaken", pid=os.getpid(), started=started.started - 3600)
    processes._write([*processes.recorded(), mistaken])

    assert processes.stop() == ["gone"]


def test_one_that_ended_is_not_alive(processes):
    """Also while nobody has taken its exit status."""
    started = processes.start("short", [sys.executable, "-S", "-c", "print('words')"])
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)

    assert processes.alive() == {}
    assert processes.log("short").read_text() == "words\n"
