"""What a client's FIN behind its request means."""

from typing import Any

import pytest

from shieldproxy.core.half import on_fin
from shieldproxy.core.policy import HalfClose, Policy

PLAIN: dict[str, Any] = {"minor": 1, "begun": False}
TABLE: list[tuple[HalfClose, dict[str, Any], dict[str, Any], HalfClose]] = [
    ("serve", {}, {}, "serve"),
    ("serve", {}, {"begun": True}, "serve"),
    ("abort", {}, {}, "abort"),
    ("abort", {}, {"begun": True}, "abort"),
    ("abort", {}, {"minor": 0}, "abort"),
    ("abort", {"interim": "none", "response_version": "1.0"}, {}, "abort"),
    ("probe", {}, {}, "probe"),
    ("probe", {"interim": "100"}, {}, "probe"),
    ("probe", {"request_version": "1.1"}, {}, "probe"),
    # who may not be sent a 100 is served
    ("probe", {"interim": "none"}, {}, "serve"),
    ("probe", {"response_version": "1.0"}, {}, "serve"),
    ("probe", {"request_version": "1.0"}, {}, "serve"),
    ("probe", {}, {"minor": 0}, "serve"),
    ("probe", {"request_version": "1.1"}, {"minor": 0}, "serve"),
    # in the middle of an answer there is no place for it
    ("probe", {}, {"begun": True}, "serve"),
]


@pytest.mark.parametrize(("half_close", "policy", "facts", "meant"), TABLE)
def test_a_fin(
    half_close: HalfClose, policy: dict[str, Any], facts: dict[str, Any], meant: HalfClose
) -> None:
    assert on_fin(Policy(half_close=half_close, **policy), **{**PLAIN, **facts}) == meant


def test_by_default_it_is_served() -> None:
    assert on_fin(Policy(), **PLAIN) == "serve"
