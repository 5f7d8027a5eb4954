"""The tests' own watch: what it forgives, and what not."""

import os
import subprocess
import sys
import time

import pytest

from tests.kit.watch import Watch

SPIN = "import os\nos.sched_setaffinity(0, {%d})\nprint(flush=True)\nwhile True: pass"


def test_too_early_is_never_forgiven() -> None:
    watch = Watch()
    with pytest.raises(AssertionError, match="too early"):
        watch.took(10, 20)
    with pytest.raises(AssertionError, match="too early"):
        watch.took(1, 2, 0.9)


def test_late_is_late_where_nobody_waited() -> None:
    """Asleep is not ready: a pause of ours, or of the product, is no excuse."""
    watch = Watch()
    time.sleep(0.3)
    watch.took(0.3, 1)
    with pytest.raises(AssertionError, match="at most"):
        watch.took(0, 0.05)


def test_children_that_want_for_a_cpu_move_the_bound() -> None:
    """Three that spin on one CPU wait for two thirds of their time."""
    command = [sys.executable, "-c", SPIN % min(os.sched_getaffinity(0))]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        watch = Watch()
        while watch.seconds < 0.5:
            time.sleep(0.05)
        assert watch.waited() > 0.3
        watch.took(0, 0.3)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert watch.waited() > 0.3, "who has ended still counts"
