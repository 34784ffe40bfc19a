"""
Write docs/cli.md, the reference of the `taskqueue` command, from the command itself.

    python tools/cli_reference.py            write it
    python tools/cli_reference.py --check    say whether it is as it should be
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from taskqueue.cli.exits import MEANINGS
from taskqueue.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"

#: What stands before the table of exit statuses.
HEAD = ROOT / "tools" / "cli_reference_head.md"

COMPLETION = """
## Completion

```console
$ taskqueue completion bash >> ~/.bashrc
$ taskqueue completion zsh >> ~/.zshrc
$ taskqueue completion fish > ~/.config/fish/completions/taskqueue.fish
```

## Commands
"""


def page() -> str:
    """The whole page."""
    exits = "".join(f"| {number} | `{name}` | {means} |\n" for number, name, means in MEANINGS)
    return (
        HEAD.read_text(encoding="utf-8")
        + exits
        + COMPLETION
        + "".join(_command(cli, ("taskqueue",)))
    )


def _command(command: click.Command, names: tuple[str, ...]) -> Iterator[str]:
    """A section for a command, then those for the commands in it."""
    context = click.Context(command, info_name=names[-1])
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n### {' '.join(names)}\n\n```text\n{' '.join(names)} {usage}\n```\n"
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield f"\n{_paragraphs(help_text)}\n"
    rows = [row for option in command.get_params(context) if (row := _option(option, context))]
    if rows:
        yield "\n| option | meaning |\n| --- | --- |\n" + "".join(rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, (*names, name))


def _paragraphs(text: str) -> str:
    """Words in angle and square brackets must not look like markup."""
    return text.replace("<", "&lt;").replace("[", "\\[")


def _option(option: click.Parameter, context: click.Context) -> str | None:
    record = option.get_help_record(context)
    if record is None or not record[1] or "--help" in option.opts:
        return None
    names, meaning = (" ".join(part.split()).replace("|", "\\|") for part in record)
    return f"| `{names}` | {_paragraphs(meaning)} |\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with C{--check} compare it; returns the exit status."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/cli.md is stale: run python tools/cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
