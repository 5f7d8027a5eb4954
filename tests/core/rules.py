"""Asking a rule book, for its tests."""

from typing import Any

from shieldproxy.core.policy import Policy, Rule, Verdict
from shieldproxy.core.rulebook import RuleBook


def ask(book: RuleBook, **facts: Any) -> Verdict:
    """What the book says of a plain request with these facts."""
    usual: dict[str, Any] = {
        "client": "192.0.2.1",
        "method": b"GET",
        "path": b"/",
        "host": b"www.example",
        "minor": 1,
        "user_agent": b"",
        "now": 1.0,
    }
    return book.decide(**{**usual, **facts})


def matched(rule: Rule, **facts: Any) -> bool:
    """Whether a rule matches a plain request with these facts."""
    return bool(ask(RuleBook([rule], Policy()), **facts).rules)
