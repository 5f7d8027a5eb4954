"""The story of tests.clients.model in other people's libraries: run as programs, never imported."""
