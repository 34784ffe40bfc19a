"""
What speaks to the peers, in an environment of its own, without taskqueue.

C{*_noop} are the same task in other frameworks: each is loaded by that framework's
own worker, and run by itself it is the producer; see L{benchmarks.frameworks}.  The
others speak a broker's protocol as raw as it gets, taskqueue's too, driven by
L{benchmarks.peers.drive}; see L{benchmarks.throughput} and L{benchmarks.latency}.
"""
