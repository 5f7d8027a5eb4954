"""End-to-end tests: the real product, as a process, between scripted peers on loopback."""
