"""
Commands that need no broker.
"""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import get_completion_class

from taskqueue import __version__
from taskqueue.cli.exits import OK, REFUSED
from taskqueue.cli.output import Output
from taskqueue.cli.running import complain
from taskqueue.cli.setting import Setting, shows
from taskqueue.config import as_text, load
from taskqueue.errors import ConfigError

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@shows
def version(setting: Setting, /) -> None:
    """Show the version."""
    out = Output(setting.form)
    if out.for_people:
        out.line(f"taskqueue {__version__}")
    else:
        out.value({"taskqueue": __version__, "python": sys.version.partition(" ")[0]})


@click.command("config-check")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--show", is_flag=True, help="Print the whole configuration, defaults included.")
@click.option("--environment", is_flag=True, help="Heed TASKQUEUE_<SECTION>_<KEY> too.")
@shows
def config_check(setting: Setting, /, file: str, show: bool, environment: bool) -> None:
    """Say whether FILE is a usable configuration of the broker, or all that is wrong with it."""
    out = Output(setting.form)
    try:
        config = load(file, os.environ if environment else None)
    except ConfigError as error:
        if out.for_people:
            for problem in error.problems:
                complain(problem)
        else:
            out.value({"usable": False, "problems": list(error.problems)})
        sys.exit(REFUSED)
    if not out.for_people:
        out.value({"usable": True, "problems": []})
    elif show:
        out.line(as_text(config).rstrip("\n"))
    else:
        out.line("configuration ok")
    sys.exit(OK)


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print what makes SHELL complete this command's words.

    \b
    bash:  taskqueue completion bash >> ~/.bashrc
    zsh:   taskqueue completion zsh >> ~/.zshrc
    fish:  taskqueue completion fish > ~/.config/fish/completions/taskqueue.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    root = context.find_root().command
    click.echo(kind(root, {}, "taskqueue", "_TASKQUEUE_COMPLETE").source())
