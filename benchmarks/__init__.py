"""What shieldproxy costs, beside nginx, HAProxy, Caddy and Apache on the same machine in the same run.

``python -m benchmarks`` runs every part, or the ones that are named; each part starts its own servers from
its own configuration in a temporary folder, on loopback, and ends them by their process ids.

- :mod:`.procfs` reads CPU time, memory and sockets of a process tree, :mod:`.load` drives wrk,
  :mod:`.holder` is the client that holds connections;
- :mod:`.peers` and :mod:`.product` write the configurations, :mod:`.rig` starts and ends processes;
- :mod:`.speed`, :mod:`.held`, :mod:`.pairs` and :mod:`.slowhead` are the parts;
- :mod:`.model`, :mod:`.bars` and :mod:`.report` turn samples into tables, bars and JSON.

A ratio is always taken within one round, in which the proxies ran one after the other; what is printed is the
median of the rounds with its smallest and largest value. A run with an error is a failure, never a figure.
"""
