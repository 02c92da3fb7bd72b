"""`pgbastion serve`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command(
    epilog="SIGTERM drains and ends, SIGHUP reloads the settings, SIGUSR2 replaces every process without a gap.",
)
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration file.", dir_okay=False, show_default=False)
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="gateway|api", help="One part, under a unit of its own.", show_default=False)
    ] = None,
    flags: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="A setting, over the file and the environment.", show_default=False
        ),
    ] = None,
) -> None:
    """Run the gateway until it is told to stop (SIGTERM, or Ctrl-C)."""
    from gateway.serve import Part, run  # the rest of the program: not needed for --help

    if only is not None and only not in list(Part):
        raise typer.BadParameter("should be gateway or api", param_hint="--only")
    raise typer.Exit(run(config, Part(only) if only is not None else None, flags or ()))
