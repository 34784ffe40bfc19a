"""
The same task in other frameworks: each module is loaded by that framework's own
worker, and run by itself it is the producer; see L{benchmarks.frameworks}.

They run in another environment, without taskqueue.
"""
