"""Decisions: pure functions and tables. No trio, socket, select, os, clock or log."""
