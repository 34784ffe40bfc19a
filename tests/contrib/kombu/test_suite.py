"""
Kombu's own integration classes, from its source archive, unchanged, over this transport.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.contrib.programs import FrameworkTestCase
from tests.process.children import ROOT, environment
from tools.kombu_suite import FOLDER

#: The cases of its classes; a number, so that none goes unnoticed.
CASES = 47

#: How long all of them may take, seconds: some of them wait for 3 s each.
PATIENCE_S = 180.0


class KombuSuite(FrameworkTestCase):
    timeout = PATIENCE_S + 10

    def test_all_cases_pass(self) -> None:
        if not (FOLDER / "common.py").is_file():
            raise SkipTest("python -m tools.kombu_suite fetches them")
        suite = Path(__file__).with_name("suite.py")
        ran = subprocess.run(
            [*(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"), str(suite)],
            cwd=self.folder,
            env=environment(
                measured=False,
                PYTHONPATH=os.pathsep.join((str(ROOT), str(FOLDER))),
                BROKER_PORT=self.address.rpartition(":")[2],
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        passed = re.search(r"(\d+) passed", ran.stdout)
        self.assertEqual(passed and passed[1], str(CASES), ran.stdout)
        self.assertNotRegex(ran.stdout, r"skipped|xfailed|rerun")
