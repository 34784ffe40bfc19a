"""
Applications: tasks that are declared as functions.

L{App} collects them; what a function may raise and what it is given are in
L{taskqueue.app.outcomes} and L{taskqueue.app.context}.  Running them is the
worker's business.
"""
