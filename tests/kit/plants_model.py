"""What a planted fault is."""

from collections.abc import Callable


class Plant:
    """A fault that can be planted, and who must notice."""

    def __init__(self, apply: Callable[[], None], says: str, *cases: str) -> None:
        self.apply = apply
        """Changes the loaded product, or raises `patches.MissedError`."""
        self.says = says
        """A pattern that the failures of the cases must match: red for this reason, not for another."""
        self.cases = cases
        """Node ids under ``tests/e2e``, without the lane; each must be red in both lanes."""
