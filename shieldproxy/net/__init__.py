"""Sockets: one thin shell for each kind. Decides nothing; `core` decides."""
