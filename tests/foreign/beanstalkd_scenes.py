"""
Scenes between clients and a beanstalkd: every command, every answer, and much that a client
should not do.

Their answers depend on nothing but themselves and the scenes before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.foreign.beanstalkd_player import Player

LONGEST_NAME = "n" * 200
MAX_32 = 2**32 - 1

#: What is no command, or a command of the wrong form; each is answered by one line.
MALFORMED = (
    "", " ", "x", "PUT 0 0 60 1", "Stats", "stats ", " stats", "stats x", "statsx", "reserve x",
    "reserve ", "reserve  ", "reserved", "reserve-with-timeout", "reserve-job", "reserve-job ",
    "reserve-job x", "reserve-job -1", "reserve-job 0", "reserve-job 1 1",
    "reserve-job 99999999999999999999", "delete", "delete ", "delete x", "delete -1", "delete 0",
    "delete 1x", "delete 1 ", "delete  999999", "delete 999999999", "delete 18446744073709551615",
    "delete 18446744073709551616", "release", "release 1", "release 1 1", "release x 1 1",
    "release 999999 1 1 1", "release 999999 -1 0", "release 999999 4294967296 0",
    "release 999999 0 4294967296", "release 999999 0 0", "bury", "bury 1", "bury x 0",
    "bury 999999 x", "bury 999999 0", "bury 999999 0 0", "touch", "touch x", "touch 999999",
    "touch 999999 1", "peek", "peek x", "peek 999999", "peek -1", "peek 0", "peek-ready x",
    "peek-delayed ", "peek-buriedx", "kick", "kick x", "kick -1", "kick 0", "kick 1 ",
    "kick 99999999999999999999", "kick-job", "kick-job x", "kick-job 999999", "stats-job",
    "stats-job x", "stats-job 999999", "stats-tube", "stats-tube ", "stats-tube nowhere",
    "stats-tube a b", "stats-tube -x", "use", "use ", "use -x", "use a b", "use a ", "use  a",
    "use a@b", "use \xe9", "use " + LONGEST_NAME + "n", "watch", "watch ", "watch -a",
    "watch a b", "watch a*b", "watch " + LONGEST_NAME + "n", "ignore", "ignore ", "ignore -a",
    "ignore nowhere", "ignore a b", "list-tubes x", "list-tubesx", "list-tube-used x",
    "list-tubes-watched x", "pause-tube", "pause-tube x", "pause-tube nowhere 1",
    "pause-tube default", "pause-tube default x", "pause-tube default -1",
    "pause-tube default 1 1", "quitx", "quit x", "put", "put ", "put 0", "put 0 0", "put 0 0 60",
    "put 0 0 60 ", "put x 0 60 1", "put 0 x 60 1", "put 0 0 x 1", "put 0 0 60 x", "put -1 0 60 1",
    "put 0 -1 60 1", "put 0 0 -1 1", "put 0 0 60 -1", "put 4294967296 0 60 1",
    "put 0 4294967296 60 1", "put 0 0 4294967296 1", "put 0 0 60 1 1", "put 0 0 60 1 ",
    "put  0 0 60 1x", "stats\0x", "use a\0b", "\x16\x03\x01", "GET / HTTP/1.1", "peek-ready\0",
    "delete 1.5", "kick 1e3", "kick +1", "kick 01", "delete +1", "reserve-with-timeout 00",
    "reserve-with-timeout 4294967296", "reserve-with-timeout 9223372036854775808",
)  # fmt: skip


def malformed(play: Player) -> None:
    play.put("first", "0 3600 60")
    for line in MALFORMED:
        play.attempt(line)
    play.ask("list-tube-used")
    play.ask("list-tubes-watched")
    play.ask("list-tubes")
    play.ask("delete <first>")


def lines(play: Player) -> None:
    """What is a line, and how long it may be."""
    play.say("stats-tube nowhere\n\r\0")
    play.say("\n\0")
    play.hear()
    play.silent()
    play.ask("use " + LONGEST_NAME)
    play.ask("use default")
    play.ask("x" * 222)
    play.ask("x" * 300)
    play.ask("list-tube-used")
    play.ask("y" * 1000)
    play.ask("list-tube-used")
    play.say("z" * 5000 + "\0")
    play.silent()
    play.ask("\r\n")
    play.silent()
    play.ask("list-tube-used")
    for part in ("list", "-tube", "-used", "\r", "\n"):
        play.say(part + "\0")
        play.wait(0.02)
    play.hear()


def one_job(play: Player) -> None:
    play.ask("use one")
    play.ask("watch one")
    play.put("job", "7 0 9", "hello")
    play.ask("peek <job>")
    play.ask("peek-ready")
    play.ask("stats-job <job>")
    play.ask("reserve")
    play.ask("stats-job <job>")
    play.ask("touch <job>")
    play.ask("peek-ready")
    play.ask("release <job> 5 0")
    play.ask("stats-job <job>")
    play.ask("reserve-with-timeout 0")
    play.ask("bury <job> 3")
    play.ask("stats-job <job>")
    play.ask("peek-buried")
    play.ask("touch <job>")
    play.ask("release <job> 1 0")
    play.ask("bury <job> 1")
    play.ask("kick-job <job>")
    play.ask("kick-job <job>")
    play.ask("stats-job <job>")
    play.ask("reserve-job <job>")
    play.ask("release <job> 2 3600")
    play.ask("stats-job <job>")
    play.ask("peek-delayed")
    play.ask("peek-ready")
    play.ask("reserve-with-timeout 0")
    play.ask("kick 5")
    play.ask("kick 5")
    play.ask("stats-tube one")
    play.ask("delete <job>")
    for command in ("delete", "peek", "touch", "kick-job", "stats-job", "reserve-job"):
        play.ask(f"{command} <job>")
    play.ask("stats-tube one")


def bodies(play: Player) -> None:
    play.ask("use bodies")
    play.ask("watch bodies")
    for number, body in enumerate(("", "\r\n", "\0\xff\r\n.", "x" * 65535)):
        play.put(f"body{number}", "0 0 60", body)
        play.ask("reserve")
        play.ask(f"delete <body{number}>")
    play.ask("put 0 0 60 65536\r\n" + "x" * 65536 + "\r\n")
    play.ask("list-tube-used")
    play.ask("put 0 0 60 200000\r\n" + "x" * 200000 + "\r\n")
    play.ask("list-tube-used")
    for by, body in {"b": "abcd\r\n", "c": "abcde\r\n", "d": "ab\r\n\r\n", "e": "abc\n\n"}.items():
        play.ask(f"put 0 0 60 3\r\n{body}\0", by)
        play.silent(by)
        play.ask("list-tube-used", by)
        play.silent(by)
    play.ask("put 0 0 60 100000\r\n" + "x" * 100000 + "y\r\n", "f")
    play.silent("f")
    play.ask("list-tube-used", "f")
    play.say("put 0 0 60 10\r\n01234\0")
    play.silent()
    play.say("56789\0")
    play.silent()
    play.say("\r\0")
    play.silent()
    play.ask("\n", name="late")
    play.ask("delete <late>")
    play.ask("peek-ready")


def numbers(play: Player) -> None:
    """The largest and the smallest."""
    play.ask("use numbers")
    play.put("a", f"{MAX_32} 0 60")
    play.put("b", f"0 {MAX_32} 60")
    play.put("c", f"0 0 {MAX_32}")
    play.put("d", "0 0 0")
    play.put("e", "007 00 060")
    for name in "abcde":
        play.ask(f"stats-job <{name}>")
        play.ask(f"delete <{name}>")


def order(play: Player) -> None:
    """The most urgent first, and those that came first of them; over all tubes that are watched."""
    for tube in ("low", "high"):
        play.ask(f"watch {tube}")
    for number, (tube, priority) in enumerate(
        [
            ("low", 10),
            ("high", 10),
            ("low", 5),
            ("high", 0),
            ("high", 5),
            ("low", MAX_32),
            ("high", 10),
        ]
    ):
        play.ask(f"use {tube}")
        play.put(f"o{number}", f"{priority} 0 60")
    play.ask("peek-ready")
    play.ask("reserve")
    play.ask("release <o3> 20 0")
    for _ in range(7):
        play.ask("reserve-with-timeout 0")
    play.ask("reserve-with-timeout 0")
    for number in range(7):
        play.ask(f"delete <o{number}>")


def kicking(play: Player) -> None:
    """Those that were buried first, first; and what is delayed only where none is buried."""
    play.ask("use kicks")
    play.ask("watch kicks")
    for number in range(4):
        play.put(f"k{number}", f"{number} 0 60")
    for _ in range(3):
        play.ask("reserve")
    play.ask("bury <k2> 9")
    play.ask("bury <k0> 8")
    play.ask("bury <k1> 7")
    play.put("late", "0 3600 60")
    play.put("later", "0 7200 60")
    play.ask("peek-buried")
    play.ask("peek-delayed")
    play.ask("kick 1")
    play.ask("peek-buried")
    play.ask("kick 2")
    play.ask("kick 1")
    play.ask("peek-delayed")
    play.ask("kick 9")
    play.ask("kick 9")
    play.ask("stats-job <k2>")
    play.ask("stats-job <later>")
    for _ in range(6):
        play.ask("reserve-with-timeout 0")
    for name in ("k0", "k1", "k2", "k3", "late", "later"):
        play.ask(f"delete <{name}>")


def of_others(play: Player) -> None:
    """What one connection has reserved, another may look at only."""
    play.ask("use theirs")
    play.put("job")
    play.ask("watch theirs", "b")
    play.ask("reserve", "b")
    for command in ("delete <job>", "release <job> 0 0", "bury <job> 0", "touch <job>",
                    "kick-job <job>", "reserve-job <job>"):  # fmt: skip
        play.ask(command)
    play.ask("peek <job>")
    play.ask("stats-job <job>")
    play.ask("reserve-job <job>", "b")
    play.close("b")
    play.ask("stats-job <job>")
    play.ask("peek-ready")
    play.put("buried")
    play.ask("watch theirs", "c")
    play.ask("reserve-job <buried>", "c")
    play.ask("bury <buried> 0", "c")
    play.close("c")
    play.ask("stats-job <buried>")
    play.ask("delete <buried>")
    play.put("delayed", "0 3600 60")
    play.ask("reserve-job <delayed>", "d")
    play.ask("stats-job <delayed>", "d")
    play.ask("delete <delayed>", "d")
    play.ask("delete <job>", "d")


def tubes(play: Player) -> None:
    """They are there for as long as something refers to them."""
    play.ask("list-tubes")
    play.ask("list-tube-used")
    play.ask("list-tubes-watched")
    play.ask("use u")
    play.ask("watch w")
    play.ask("watch w")
    play.ask("watch v")
    play.ask("list-tubes")
    play.ask("list-tubes-watched")
    play.ask("stats-tube u")
    play.ask("stats-tube w")
    play.ask("ignore w")
    play.ask("ignore w")
    play.ask("stats-tube w")
    play.ask("ignore default")
    play.ask("ignore v")
    play.ask("list-tubes-watched")
    play.put("job")
    play.ask("use default")
    play.ask("list-tubes")
    play.ask("stats-tube u")
    play.ask("delete <job>")
    play.ask("stats-tube u")
    play.ask("watch v", "b")
    play.close()
    play.ask("list-tubes", "b")
    for name in ("a-b", "a+b", "a/b", "a;b", "a.b", "a$b", "a_b", "(a)", "1", "+", "a:b", "a=b"):
        play.ask(f"use {name}", "b")


def pipelined(play: Player) -> None:
    """Answers come in the order of the commands, whatever they are."""
    job = "put 0 0 60 1\r\nx\r\n"
    play.say("use p\r\n" + job * 3 + "watch p\r\nnonsense\r\nreserve\r\n" * 2 + "reserve\r\n")
    for name in ("", "p0", "p1", "p2", *[""] * 7):
        play.hear(name=name)
    play.say("delete <p0>\r\ndelete <p0>\r\nrelease <p1> 0 0\r\nbury <p2> 0\r\npeek-ready\r\n")
    for _ in range(5):
        play.hear()
    play.say("delete <p1>\r\ndelete <p2>\r\nquit\r\nlist-tube-used\r\n")
    for _ in range(2):
        play.hear()
    play.over()


def blocked(play: Player) -> None:
    """What comes after a reserve that waits, waits."""
    play.ask("watch blocked", "b")
    play.say("reserve\r\nlist-tube-used\r\npeek-ready\r\n", "b")
    play.silent("b")
    play.ask("stats-tube blocked")
    play.ask("use blocked")
    play.put("job")
    for _ in range(3):
        play.hear("b")
    play.ask("delete <job>", "b")
    play.say("reserve", "b")
    play.wait(0.05)
    play.put("first")
    play.hear("b")
    play.ask("watch blocked", "c")
    play.say("reserve", "c")
    play.silent("c")
    play.close("b")
    play.hear("c")
    play.ask("delete <first>", "c")


def half_closed(play: Player) -> None:
    """Whoever says no more is told at once that there is nothing."""
    play.ask("watch half")
    play.say("reserve")
    play.wait(0.05)
    play.half_close()
    play.hear(timed=True)
    play.over()
    play.ask("use half", "b")
    play.put("job", by="b")
    play.say("watch half\r\nreserve\r\nlist-tube-used\r\n", "c")
    play.half_close("c")
    for _ in range(3):
        play.hear("c")
    play.over("c")
    play.wait(0.05)
    play.ask("stats-job <job>", "b")
    play.ask("delete <job>", "b")


def quitting(play: Player) -> None:
    play.ask("watch q")
    play.ask("use q")
    play.put("job")
    play.ask("reserve")
    play.say("quit")
    play.over()
    play.ask("stats-job <job>", "b")
    play.ask("delete <job>", "b")


def time_outs(play: Player) -> None:
    play.ask("watch times")
    play.ask("use times")
    play.ask("reserve-with-timeout 0", timed=True)
    play.ask("reserve-with-timeout 1", timed=True)
    play.put("delayed", "0 1 60")
    play.ask("peek-delayed")
    play.ask("reserve-with-timeout 3", timed=True)
    play.ask("release <delayed> 0 1")
    play.ask("reserve", timed=True)
    play.ask("delete <delayed>")


def deadlines(play: Player) -> None:
    """In the last second of what is reserved, whoever reserves is told; then it is ready again."""
    play.ask("watch dead")
    play.ask("use dead")
    play.put("short", "0 0 1")
    play.ask("reserve")
    play.ask("reserve", timed=True)
    play.put("other", "0 0 60")
    play.ask("reserve", timed=True)
    play.ask("release <other> 0 3600")
    play.ask("stats-job <short>")
    play.ask("touch <short>")
    play.ask("watch dead", "b")
    play.ask("reserve-with-timeout 0", "b")
    play.wait(1.1)
    play.ask("reserve-with-timeout 0", "b")
    play.ask("touch <short>")
    play.ask("release <short> 0 0")
    play.ask("delete <short>", "b")
    play.put("longer", "0 0 2")
    play.ask("reserve")
    play.ask("reserve-with-timeout 5", timed=True)
    play.ask("reserve-with-timeout 0", timed=True)
    play.ask("bury <longer> 0")
    play.ask("delete <longer>")
    play.ask("delete <other>")


def pauses(play: Player) -> None:
    play.ask("watch paused")
    play.ask("use paused")
    play.put("job")
    play.ask("pause-tube paused 1")
    play.ask("stats-tube paused")
    play.ask("peek-ready")
    play.ask("reserve-with-timeout 0")
    play.ask("reserve", timed=True)
    play.ask("release <job> 0 0")
    play.ask("pause-tube paused 3600")
    play.ask("reserve-job <job>")
    play.ask("release <job> 0 0")
    play.say("reserve")
    play.silent()
    play.ask("pause-tube paused 0", "b")
    play.hear(timed=True)
    play.ask("stats-tube paused")
    play.ask("delete <job>")


def statistics(play: Player) -> None:
    """All numbers, of a server that has played all that is before this."""
    play.ask("use numbers")
    play.ask("watch numbers")
    for number, options in enumerate(("0 0 60", "1023 0 60", "1024 0 60", "0 3600 60", "1 0 60")):
        play.put(f"s{number}", options)
    play.ask("reserve")
    play.ask("reserve")
    play.ask("bury <s4> 0")
    play.ask("watch numbers", "b")
    play.ask("use other", "b")
    play.ask("watch numbers", "c")
    play.ask("reserve-with-timeout 0", "c")
    play.ask("stats-tube numbers")
    play.ask("stats")
    play.ask("reserve-job <s2>", "c")
    play.ask("reserve-job <s1>", "c")
    play.say("reserve", "c")
    play.wait(0.05)
    play.ask("stats-tube numbers")
    play.ask("stats")
    play.close("c")
    play.ask("stats-tube numbers")
    for number in range(5):
        play.ask(f"delete <s{number}>")
    play.ask("stats-tube numbers")
    play.ask("stats")


#: In the order in which they are played.
def odd(play: Player) -> None:
    """What is counted, or taken, although it is malformed: time-outs that are no numbers."""
    play.ask("pause-tube -x 1")
    for text in ("", "x", "1x", "+0", "-1", "99999999999"):
        play.attempt(f"reserve-with-timeout {text}")


_ORDER = (
    malformed, lines, one_job, bodies, numbers, order, kicking, of_others, tubes, pipelined,
    blocked, half_closed, quitting, time_outs, deadlines, pauses, statistics,
    odd,
)  # fmt: skip
SCENES: Mapping[str, Callable[[Player], None]] = {scene.__name__: scene for scene in _ORDER}
