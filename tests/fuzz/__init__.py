"""Messages of any shape, held against h11: the checks, a coverage-guided search with them, and its finds."""
