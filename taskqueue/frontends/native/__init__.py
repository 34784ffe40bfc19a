"""The native protocol, in frames and in lines: bytes to requests, and sessions of them."""
