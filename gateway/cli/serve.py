"""`pgbastion serve`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.reach import example_text
from gateway.supervision.parts import Part

app = typer.Typer(add_completion=False)


@app.command(
    epilog=example_text(
        [
            "pgbastion serve --config /etc/pgbastion/pgbastion.toml",
            "pgbastion serve --set listen.port=5432 --set listen.workers=4",
            "pgbastion serve --only gateway",
        ]
    )
)
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration file.", dir_okay=False, show_default=False)
    ] = None,
    only: Annotated[
        Part | None, typer.Option("--only", help="Just this part, under a unit of its own.", show_default="all parts")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, over the file and the environment; may be repeated."),
    ] = None,
) -> None:
    """Run the gateway until it is told to stop (SIGTERM, or Ctrl-C).

    SIGHUP: read the settings again. SIGUSR2: replace the workers one by one, without a refused login.
    """
    from gateway.ending import leave
    from gateway.serve import run  # the rest of the program: not needed for --help

    if status := run(config, only, settings or ()):
        raise typer.Exit(status)
    leave(0)
