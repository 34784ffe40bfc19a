"""
The REST API: resources over the operations that the wire protocols have too.

C{docs/rest.md} is its contract.
"""
