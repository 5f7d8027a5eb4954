"""``shieldproxy demo``: the same clients, good and bad, at an old server; without the proxy, then with it.

Nothing here is told from memory. The server is a process of its own that says which of its threads is held,
by which connection, from when to when; the proxy is the real command with a configuration; the clients are
real sockets on loopback, and what the kernel still holds afterwards is read from its table. `count` makes
figures of all that, `crowd` are the clients, `stage` the programs, `show` what is seen, `play` the order.
"""
