"""The quiet contract: what a server sees of the worst clients there are, and what good ones notice of them.

``recorder`` is the server, ``bestiary`` the clients, ``good`` those that must not notice; each is a process
of its own. ``play`` brings them together before any proxy: tests/e2e/test_quiet.py asserts counts,
benchmarks/quiet.py compares proxies.
"""
