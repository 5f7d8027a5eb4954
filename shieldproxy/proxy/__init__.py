"""The story of an exchange: in order in `exchange`, and without a task in `express`."""
