"""This broker answers what a beanstalkd 1.12 has answered, but for what is named here."""

from __future__ import annotations

import re

from tests.foreign.beanstalkd_place import BeanstalkdProcessTestCase
from tests.foreign.beanstalkd_player import Exchange
from tests.foreign.beanstalkd_record import listens, played, recorded

#: Fields of statistics that tell of the process, and of its machine and its files.
OF_ITS_OWN = re.compile(
    r"^(pid|version|rusage-utime|rusage-stime|uptime|binlog-[a-z-]+|id|hostname|os|platform): .*$",
    re.MULTILINE,
)

#: Fields that tell how much time has passed, or is left, seconds.
OF_TIME = re.compile(r"^(age|time-left|pause-time-left): (\d+)$", re.MULTILINE)
SECONDS = 1

#: Where this broker answers otherwise on purpose: see docs/compatibility.md.  Of a number of
#: seconds that is none, beanstalkd 1.12 takes as much as looks like one.
OTHERWISE = {
    ("odd", f"a: reserve-with-timeout {text}"): "BAD_FORMAT\r\n" for text in ("", "x", "+0")
}

#: Where it does not know how long a job was delayed that is not any more.
DELAY_UNKNOWN = {("kicking", "a: stats-job <later>"), ("of_others", "d: stats-job <delayed>")}
_DELAY = re.compile(r"^delay: \d+$", re.MULTILINE)

#: How much earlier or later than beanstalkd an answer may come, seconds: two machines that do
#: something else beside.
LATE_S = 0.25

_LENGTH = re.compile(r"\AOK \d+\r\n---")


def comparable(heard: str) -> str:
    """An answer without what is different from one process to another."""
    if not heard.startswith("OK "):
        return heard
    heard = OF_ITS_OWN.sub(lambda match: f"{match[1]}: *", heard)
    heard = OF_TIME.sub(lambda match: f"{match[1]}: *", heard)
    return _LENGTH.sub("OK *\r\n---", heard)


def times(heard: str) -> list[int]:
    """The durations that an answer tells."""
    return [int(match[2]) for match in OF_TIME.finditer(heard)]


class TranscriptTests(BeanstalkdProcessTestCase):
    def test_it_answers_as_beanstalkd(self) -> None:
        self.assertTrue(listens(self.port))  # counted as a connection, there as well
        ours, theirs = played(self.port), recorded()
        self.assertEqual([each[:2] for each in ours], [each[:2] for each in theirs])
        differences = [
            f"{mine.scene}: {mine.said[:80]!r}\n  here {problem}"
            for mine, other in zip(ours, theirs, strict=True)
            if (problem := self.difference(mine, other)) is not None
        ]
        self.assertEqual(differences, [], "\n".join(differences))

    def difference(self, mine: Exchange, other: Exchange) -> str | None:
        """In words; C{None} where there is none that matters."""
        heard, place = comparable(mine.heard), mine[:2]
        wanted = comparable(OTHERWISE.get(place, other.heard))
        if place in DELAY_UNKNOWN:
            heard, wanted = _DELAY.sub("", heard), _DELAY.sub("", wanted)
        if heard != wanted:
            return f"{mine.heard[:1200]!r}\n  not  {other.heard[:1200]!r}"
        pairs = zip(times(mine.heard), times(other.heard), strict=True)
        if any(abs(here - there) > SECONDS for here, there in pairs):
            return f"other times: {mine.heard!r}\n  not  {other.heard!r}"
        if mine.took_s is not None and abs(mine.took_s - (other.took_s or 0.0)) > LATE_S:
            return f"after {mine.took_s} s\n  not  after {other.took_s} s"
        return None
