"""
The targets: each has a C{run(data)} that feeds bytes to a part of the broker and raises
where that does what it never should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fuzz.targets import beanstalkd, codec, configuration, faktory, framed, lines, rest

Target = Callable[[bytes], None]

#: By name; a folder in C{fuzz/corpus} has what each starts from.
TARGETS: Mapping[str, Target] = {
    "codec": codec.run,
    "framed": framed.run,
    "lines": lines.run,
    "rest": rest.run,
    "configuration": configuration.run,
    "beanstalkd": beanstalkd.run,
    "faktory": faktory.run,
}
