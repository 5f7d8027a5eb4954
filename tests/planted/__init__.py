"""The tests are seen to be able to fail."""
