"""One thin shell for each kind of socket. Imports only core."""
