"""Prints docs/conformance.md: ``python -m tests.conformance > docs/conformance.md``."""

import sys

from tests.conformance import TABLES
from tests.conformance.page import page

sys.stdout.write(page(TABLES))
