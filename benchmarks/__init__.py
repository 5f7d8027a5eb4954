"""Speed and size beside other proxies: make bench."""
