"""
Tests of what a hostile peer can do, against broker processes that do their work meanwhile.
"""
