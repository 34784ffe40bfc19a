"""A Flask application that leaves slow work to workers."""
