"""The control of the quiet contract: what it excuses, and what it does not."""

import os
import subprocess
import sys
import time

import pytest

from tests.quiet.control import excused
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


BUSY = "import time\nprint(flush=True)\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"


def test_a_busy_process_is_not_excused_and_one_that_is_kept_waiting_is() -> None:
    """Two that compute on one CPU: each has about half of it; one that is alone has all."""

    def kept(count: int) -> float:
        place = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        command = [*place, sys.executable, "-c", BUSY]
        with recorder() as server:
            crowd = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
            try:
                for one in crowd:
                    assert one.stdout is not None
                    one.stdout.readline()
                with control(server.port, [crowd[0].pid], place) as late:
                    time.sleep(0.7)
            finally:
                for one in crowd:
                    one.kill()
                    one.communicate()
        return sum(much for _, _, much in late)

    assert kept(1) < kept(4)
    assert kept(4) > 0.2
