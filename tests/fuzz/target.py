"""The coverage-guided search: one process that makes inputs up, until a check fails or the time is over.

    python -m tests.fuzz.target [libFuzzer options] CORPUS     search
    python -m tests.fuzz.target FILE                           one input again

Only the product's code counts as coverage. `python -m tests.fuzz` starts this with seeds and a time.
"""

import sys

import atheris

with atheris.instrument_imports(include=["shieldproxy.core", "shieldproxy.net.downstream"]):
    from tests.fuzz import checks


def main() -> None:
    """Search, as the command line says."""
    atheris.Setup(sys.argv, checks.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
