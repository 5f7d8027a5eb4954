"""What a body that comes in pieces is held as."""

import pytest

from shieldproxy.core.pace import Pace
from shieldproxy.proxy.intake import PIECES, Intake


@pytest.mark.parametrize("sizes", [[], [0], [5], [0, 3], [3, 0, 4], [1] * (3 * PIECES + 2), [1500] * 40])
def test_pieces_come_out_as_one_in_their_order(sizes: list[int]) -> None:
    intake = Intake(Pace(0, 0), None, 0)
    body = b""
    for number, size in enumerate(sizes):
        piece = bytes([number % 251]) * size
        body += piece
        intake.add(piece)
        assert intake.size == len(body)
        assert isinstance(intake.held, bytes) or len(intake.held) <= PIECES, "tiny ones do not pile up"
    assert intake.taken() == body
    assert (intake.size, intake.taken()) == (0, b"")
