"""
The dashboard: a page for people, which the broker serves and the REST API fills.
"""
