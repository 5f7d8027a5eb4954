"""What a body that comes in pieces is held as."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shieldproxy.proxy.intake import PIECES, Intake


@pytest.mark.parametrize("sizes", [[], [0], [5], [0, 3], [3, 0, 4], [1] * (3 * PIECES + 2), [1500] * 40])
def test_pieces_come_out_as_one_in_their_order(sizes: list[int]) -> None:
    intake = Intake(0, 0)
    body = b""
    for number, size in enumerate(sizes):
        piece = bytes([number % 251]) * size
        body += piece
        intake.add(piece)
        assert intake.size == len(body)
        assert isinstance(intake.held, bytes) or len(intake.held) <= PIECES, "small ones do not pile up"
    assert intake.taken() == body
    assert (intake.size, intake.taken()) == (0, b"")


@given(
    st.lists(st.integers(0, 200_000), max_size=80), st.sampled_from([1, 1448, 65_536]), st.integers(0, 1200)
)
@example([], 1448, 6000)
@example([1 << size for size in range(22, 0, -1)], 1, 1000)
def test_many_are_not_copied_again_and_again(sizes: list[int], step: int, steps: int) -> None:
    """However much memory a body may take."""
    intake = Intake(0, 0)
    copied = total = 0
    before: tuple[bytes, ...] = ()
    for size in (*sizes, *[step] * steps):
        data = bytes(size)
        intake.add(data)
        held = intake.held if isinstance(intake.held, tuple) else (intake.held,)
        known = {id(piece) for piece in (*before, data)}
        copied += sum(len(piece) for piece in held if id(piece) not in known)
        before, total = held, total + size
        assert len(held) <= PIECES + max(1, total).bit_length()
    assert intake.size == total
    assert copied <= 2 * total * max(1, total).bit_length()
