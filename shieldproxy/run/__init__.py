"""Processes: the worker, its logs, its signals. Imports proxy, net, core and config."""
