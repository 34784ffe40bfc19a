"""
Adapters: other frameworks' programs over this broker.

Each package here is for one framework, which its extra installs; nothing else of
C{taskqueue} imports them.
"""
