"""What a session has of its catalog: a hold, under the key that says which catalog that is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.access_mode import AccessMode
from gateway.proxy.registry import Session
from gateway.statements.catalog import Catalog

if TYPE_CHECKING:
    from gateway.proxy.catalog_entry import Entry


class CatalogUnavailable(Exception):
    """There is none to open a session with. `kind` and `sqlstate` are those of UpstreamRefused; for operators."""

    def __init__(self, kind: str, sqlstate: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class Key:
    """A target that is moved is another one: its sessions end."""

    target_id: str
    mode: AccessMode
    host: str
    port: int
    dbname: str
    login: str


class Hold:
    """A session's hold on its catalog. `leave` when it ends; may be said twice."""

    __slots__ = ("_entry", "_name")

    def __init__(self, entry: "Entry") -> None:
        self._entry = entry
        self._name = ""

    @property
    def now(self) -> Catalog:
        """The newest, perhaps stale."""
        found = self._entry.in_force
        if found is None:
            raise RuntimeError("a catalog is held that was never read")
        return found

    def follow(self, session: Session) -> None:
        """It is asked again whenever another catalog is in force."""
        self._name = session.session_id
        self._entry.followers[self._name] = session

    def leave(self) -> None:
        self._entry.followers.pop(self._name, None)
        self._entry.release(self)
