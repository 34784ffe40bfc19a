"""
C{python -m taskqueue.cli}: the C{taskqueue} command.
"""

from taskqueue.cli.main import main

main()
