"""
TLS without an event loop: certificates in files, the contexts that use them, and who a
certificate says that its owner is.
"""
