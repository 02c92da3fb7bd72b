"""Which gateway a command is for: this machine's, or one behind a URL. `admin` gives every command that choice."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

import typer

from gateway.cli import token_store
from gateway.cli.client import Api, Transport
from gateway.cli.options import CA_FILE_VARIABLE, TOKEN_FILE_VARIABLE, URL_VARIABLE, ApiCa, Config, TokenFile, Url

P = ParamSpec("P")

_CONFIG_VARIABLE: Final = "PGBASTION_CONFIG"
_OPTIONS: Final = {"config": Config, "url": Url, "token_file": TokenFile, "ca_file": ApiCa}


@dataclass(frozen=True, slots=True)
class Place:
    """As the command line and the environment say. Without a URL it is this machine."""

    config: Path | None
    url: str | None
    token_file: Path | None
    ca_file: Path | None

    @classmethod
    def given(
        cls,
        config: Path | None = None,
        url: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
    ) -> "Place":
        """Raises typer.BadParameter. A configuration that was named wins over the URL in the environment.

        Where neither is, and no gateway is configured on this machine: the admin API that was signed in to last.
        """
        if config is not None and url is not None:
            raise typer.BadParameter("give either --config (this machine) or --url")
        if url is None and config is None:
            url = os.environ.get(URL_VARIABLE) or _signed_in()
        return cls(config, url, token_file or _path_in(TOKEN_FILE_VARIABLE), ca_file_given(url, ca_file))

    def open(self) -> Api:
        if self.url is None:
            return Api(self._local, None, self.config)
        return Api(partial(self._remote, self.url), self.url, None)

    async def _local(self) -> Transport:
        from gateway.cli.local import open_here

        return await open_here(self.config)

    async def _remote(self, url: str) -> Transport:
        from gateway.cli.remote import Remote, given_token

        return Remote(url, given_token(self.token_file, url), self.ca_file)


def admin(
    app: typer.Typer, name: str | None = None, *, examples: Sequence[str] = ()
) -> Callable[[Callable[Concatenate[Api, P], None]], Callable[Concatenate[Api, P], None]]:
    """Register a command whose first parameter is the API. It gets the options that say where that is."""

    def register(function: Callable[Concatenate[Api, P], None]) -> Callable[Concatenate[Api, P], None]:
        own = dict(list(inspect.signature(function).parameters.items())[1:])
        # A command that has a --ca-file of its own takes the API's from before the command, or from the environment.
        where = {name: annotation for name, annotation in _OPTIONS.items() if name not in own}

        @wraps(function)
        def command(**values: object) -> None:
            given = {name: values.pop(name) for name in where}
            with _place(given).open() as api:
                function(api, **values)  # type: ignore[arg-type, call-arg]

        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.values()] + [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for each, annotation in where.items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name, epilog=example_text(examples))(command)
        return function

    return register


def ca_file_given(url: str | None, ca_file: Path | None) -> Path | None:
    """The one that was named, or that of the sign-in at this URL; None: the system's CAs."""
    return ca_file or _path_in(CA_FILE_VARIABLE) or (token_store.ca_file_of(url) if url else None)


def place_or_here(url: str | None) -> Place:
    """For commands that take no configuration and no token."""
    return Place.given(url=url)


def _signed_in() -> str | None:
    from gateway.settings import find_config

    if os.environ.get(_CONFIG_VARIABLE):
        return None
    try:
        find_config(None)
    except FileNotFoundError:
        kept = token_store.current()
        return None if kept is None else kept.url
    return None


def _place(given: Mapping[str, object]) -> Place:
    files = {name: each if isinstance(each := given.get(name), Path) else None for name in ("config", "token_file", "ca_file")}
    url = given.get("url")
    return Place.given(url=str(url) if url else None, **files)


def example_text(examples: Sequence[str]) -> str | None:
    """What stands below a command's help. An empty line keeps rich from joining the lines."""
    if not examples:
        return None
    shown = [f"[cyan]{example}[/cyan]" for example in (each.replace("[", r"\[") for each in examples)]
    return "\n\n".join(["[bold]Examples[/bold]", *shown])


def _path_in(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None
