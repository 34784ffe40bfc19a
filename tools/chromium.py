"""
Find the Chromium that the tests and the pictures of the dashboard use, or have
the system's package manager install it.

The browsers that Playwright would download come from a host that closed
networks do not reach; Debian's package does just as well.  Where there is no
browser and none may be installed, this says why, and the tests that need one
skip: see C{tests/browser}.
"""

from __future__ import annotations

import os
import shutil
import sys

from tools.system_packages import Call, call_quietly, install_packages

#: Names the executable, where it is none of L{NAMES} on the path.
VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """
    The path of a Chromium that can be run.

    @return: what the variable C{CHROMIUM} names, if that is set, or else the first
        of the usual names on the path; C{None} where there is neither.
    """
    named = os.environ.get(VARIABLE)
    candidates = [named] if named else NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)


def install(call: Call = call_quietly) -> str | None:
    """
    Install Chromium.

    @return: C{None} when that is done, or why it is not.
    """
    return install_packages(["chromium"], call)


def main() -> int:
    """
    See to it that there is a browser.

    @return: the exit status: 0 where there is one now, 1 where there is none.
    """
    if find_chromium():
        return 0
    print("No Chromium is here for the tests of the dashboard: installing it.", flush=True)
    trouble = install()
    if trouble is None and find_chromium():
        return 0
    print(
        f"There is still none: {trouble or 'the package brought no executable'}.\n"
        f"Tests that need it skip. Install it (Debian: apt-get install chromium), or let the"
        f" variable {VARIABLE} name its executable.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
