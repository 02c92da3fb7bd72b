"""`pgbastion serve`."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration file.", dir_okay=False, show_default=False)
    ] = None,
) -> None:
    """Run the gateway until it is told to stop (SIGTERM, or Ctrl-C)."""
    from gateway.serve import run  # the rest of the program: not needed for --help

    raise typer.Exit(run(config))
