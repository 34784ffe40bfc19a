# What the package is stands in setup.cfg.
from setuptools import setup

setup()
