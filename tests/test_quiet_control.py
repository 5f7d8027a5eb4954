"""The control of the quiet contract: what it excuses, and what it does not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.quiet.control import Waiting, excused
from tests.quiet.play import control, recorder


@pytest.mark.parametrize(
    ("late", "seconds"),
    [
        ([], 0),
        ([(0.0, 0.9, 0.9)], 0),  # before
        ([(1.0, 1.02, 0.02)], 0.02),
        ([(0.9, 1.02, 0.12)], 0.02),  # no more than there is of it
        ([(1.0, 1.04, 0.003)], 0.003),  # no more than it was
        ([(1.0, 1.02, 0.02), (1.0, 1.02, 0.02)], 0.02),  # seen twice
        ([(1.5, 1.6, 0.1)], 0),  # the server's own time
        ([(1.04, 2.01, 0.97)], 0.02),
    ],
)
def test_only_what_the_machine_took_is_excused(
    late: list[tuple[float, float, float]], seconds: float
) -> None:
    assert excused(((1.0, 1.05), (2.0, 2.05)), late) == pytest.approx(seconds)


def test_the_control_is_no_client_of_the_proxy() -> None:
    """Its connection and its requests are counted apart."""
    with recorder() as server:
        with control(server.port, [], []):
            time.sleep(0.1)
        seen = server.report()
    assert seen["control"]["count"] > 0
    assert (seen["most"], seen["waited"]["count"], seen["late"]) == (0, 0, [])


BUSY = "print(flush=True)\nwhile True: pass"


def test_who_is_kept_from_its_cpu_is_excused_and_who_stands_still_is_not() -> None:
    """Four that compute on one CPU: three of them wait at any moment. Stopped, they wait for nothing."""
    place = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    command = [*place, sys.executable, "-c", BUSY]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for one in crowd:
            assert one.stdout is not None
            one.stdout.readline()
        waiting = Waiting([one.pid for one in crowd])
        time.sleep(0.5)
        assert waiting.more() > 0.5
        for one in crowd:
            one.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, one.pid, os.WSTOPPED)
        waiting.more()
        time.sleep(0.1)
        assert abs(waiting.more()) < 0.001
    finally:
        for one in crowd:
            one.kill()
            one.communicate()
