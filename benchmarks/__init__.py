"""What shieldproxy costs, beside nginx, HAProxy, Caddy and Apache on the same machine in the same run.

``python -m benchmarks`` runs every part, or the ones that are named; each part starts its own servers from
its own configuration in a temporary folder, on loopback, and ends them by their process ids.

- :mod:`.procfs` reads CPU time, memory and sockets of a process tree; :mod:`.load` drives wrk with the
  requests of :mod:`.browser`, :mod:`.clients` starts :mod:`.holder`, the client that holds connections;
  :mod:`.beside` starts a client beside the load: :mod:`.heartbeat`, beside every one, sees stalls,
  :mod:`.flooder` sends at full speed;
- :mod:`.peers` and :mod:`.product` write the configurations, :mod:`.rig` places, starts and ends processes,
  :mod:`.stage` has the origin and the proxies running;
- :mod:`.speed`, :mod:`.held`, :mod:`.pairs`, :mod:`.slowhead`, :mod:`.flood` and :mod:`.drip` are the parts;
- :mod:`.model`, :mod:`.report` and :mod:`.machine` turn samples into ratios, bars, tables and JSON.

A ratio is always taken within one round, in which the proxies ran one after the other; what is printed is
the median of the rounds with its smallest and largest value. A run with an error is a failure, not a figure.

CPU time is not a constant of the work: the same loop takes nearly twice as long while something else runs
on the sibling of its CPU. So each run knows how much of the machine others had, a full benchmark repeats
what was disturbed, and beside each median stands the ratio of the cheapest rounds. Figures that are to be
kept come from a machine that does nothing else.
"""
