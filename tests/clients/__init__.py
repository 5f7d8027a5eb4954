"""Real programs before and behind the proxy: what each of them does with the way we close."""
