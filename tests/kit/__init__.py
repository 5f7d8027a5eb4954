"""Scripted peers for the tests: a strict recording upstream, a raw client, the product as a process."""
