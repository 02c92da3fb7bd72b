"""`pgbastion completion`."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.output import say_raw
from gateway.cli.reach import example_text

app = typer.Typer(add_completion=False)


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(
    epilog=example_text(
        [
            "source <(pgbastion completion bash)  # in ~/.bashrc",
            "source <(pgbastion completion zsh)  # in ~/.zshrc, after compinit",
            "pgbastion completion fish > ~/.config/fish/completions/pgbastion.fish",
        ]
    )
)
def completion(shell: Annotated[Shell, typer.Argument(help="For which shell.", show_default=False)]) -> None:
    """Print the script that completes commands, options, and the names of users, groups, targets and tokens."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from gateway.cli.main import COMPLETE_VARIABLE, PROGRAM

    say_raw(get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell.value))
