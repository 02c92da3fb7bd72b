"""What can be set. Everything has a safe default but the place for state. Durations are seconds, sizes are bytes."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.access.user_rules import LONGEST_NAME, LONGEST_PASSWORD, SHORTEST_PASSWORD, UserRules, characters
from gateway.settings.notify import Mail, Notify, PagerDuty, Slack
from gateway.settings.secrets import Aws, Google, Secrets, Vault
from gateway.settings.sign_in import Oidc, SignIn
from gateway.statements.limits import KILOBYTES, MILLISECONDS, Bounds, Caps, amount

_OTHER_FILES = 100  # of a worker: store, audit, bus, log, children


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError('should be an address or a network, such as "192.0.2.7" or "10.0.0.0/8"') from None


def _store_url(text: str) -> str:
    if not text.startswith(("sqlite+aiosqlite:///", "postgresql://")):
        raise ValueError("should begin with postgresql:// or sqlite+aiosqlite:///")
    return text


def _in_units(value: object, units: dict[str, float], wanted: str) -> int:
    found = amount(str(value), units) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if found is None:
        raise ValueError(f"should be {wanted}")
    return round(found)


def _milliseconds(value: object) -> int:
    return _in_units(value, MILLISECONDS, 'a time as PostgreSQL writes it, such as "30min" (a plain number: milliseconds)')


def _kilobytes(value: object) -> int:
    return _in_units(value, KILOBYTES, 'an amount as PostgreSQL writes it, such as "256MB" (a plain number: kB)')


def _characters(text: str) -> str:
    characters(text)
    return text


def _forbidden(text: str) -> str:
    if any(each.isalnum() for each in text):
        raise ValueError("should hold neither letters nor digits")
    return text


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]
_LARGEST = 2**31 - 1  # of any setting of PostgreSQL
Milliseconds = Annotated[int, BeforeValidator(_milliseconds), Field(ge=1, le=_LARGEST)]
Kilobytes = Annotated[int, BeforeValidator(_kilobytes), Field(ge=64, le=_LARGEST)]


Network = Annotated[str, AfterValidator(_network)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _WithCertificate(_Section):
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _go_together(self) -> "_WithCertificate":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: set both or neither")
        return self


class Listen(_Section):
    """`pin_workers`: "auto" keeps each worker on a CPU of its own where there are enough of them."""

    host: str = "127.0.0.1"
    port: int = Field(6432, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=127)
    pin_workers: Literal["auto", "off"] = "auto"
    backlog: int = Field(1024, ge=1)
    drain_seconds: Seconds = 30.0


class Tls(_WithCertificate):
    """Without `cert_file` a CA and a certificate for `names` are made at first start, in `<state_dir>/tls`.

    `client_ca_file`: machine users may log in with certificates that these CAs signed. None: nobody is asked for one.
    `client_crl_file`: what these CAs have revoked.
    """

    mode: Literal["require", "allow", "disable"] = "require"
    names: list[str] = ["localhost", "127.0.0.1", "::1"]
    client_ca_file: Path | None = None
    client_crl_file: Path | None = None
    handshake_timeout_seconds: Seconds = 10.0

    @model_validator(mode="after")
    def _revoked_by_somebody(self) -> "Tls":
        if self.client_crl_file is not None and self.client_ca_file is None:
            raise ValueError("client_crl_file needs client_ca_file")
        return self


class Public(_Section):
    """How people reach the gateway, as connection strings say it. Empty: where it listens, and the CA that it made itself.

    `ca_file`: what verifies the certificate in `tls.cert_file`; "system": the CAs that every system knows.
    """

    host: str = Field("", max_length=253, pattern=r"^[A-Za-z0-9._:-]*$")
    port: int | None = Field(None, ge=1, le=65535)
    ca_file: Path | Literal["system"] | None = None


class Credentials(_Section):
    """Short-lived database credentials. `max_sessions`: with one of them, at a time; `max_per_user`: live ones of one person.

    `sessions_outlive_seconds`: how long a session may go on after its credential has expired.
    """

    default_seconds: Annotated[int, Field(ge=60)] = 3600
    max_seconds: Annotated[int, Field(ge=60, le=7 * 86_400)] = 43_200
    max_sessions: int = Field(10, ge=1)
    max_per_user: int = Field(20, ge=1)
    sessions_outlive_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = 0

    @model_validator(mode="after")
    def _default_fits(self) -> "Credentials":
        if self.default_seconds > self.max_seconds:
            raise ValueError("default_seconds may not be more than max_seconds")
        return self


class Limits(_Section):
    """Counts hold for the whole gateway, however many workers it has. What the limits of a statement come from: see `Bounds`.

    `end_notices_seconds`: so long before its right ends a session is told.
    """

    pre_auth_timeout_seconds: Seconds = 10.0
    max_pending: int = Field(1000, ge=1)
    max_pending_per_address: int = Field(32, ge=1)
    max_sessions: int = Field(10_000, ge=1)
    max_sessions_per_user: int = Field(100, ge=1)
    max_message_bytes: Bytes = 16 * 1024 * 1024
    max_statement_bytes: Bytes = 1024 * 1024
    max_statement_tokens: int = Field(Bounds().tokens, ge=1000)
    max_statement_nesting: int = Field(Bounds().nesting, ge=10, le=10_000)
    max_comment_depth: int = Field(Bounds().comment_depth, ge=1, le=1000)
    max_prepared_statements: int = Field(10_000, ge=1)
    upstream_connect_timeout_seconds: Seconds = 10.0
    open_ahead_seconds: Seconds = 60.0
    end_notices_seconds: list[Seconds] = [600.0, 60.0]
    scram_iterations_max: int = Field(100_000, ge=4096)

    def files_of_a_worker(self, workers: int) -> int:
        """How many files one of so many workers may need at most to have open: two for each session, and its own."""
        return (2 * self.max_sessions + self.max_pending) // workers + _OTHER_FILES

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.max_statement_tokens, self.max_statement_nesting, self.max_comment_depth)


class Throttle(_Section):
    """Wrong passwords: after `free_failures` within the window an address is refused, a user's answers are delayed."""

    free_failures: int = Field(10, ge=1)
    window_seconds: Seconds = 60.0
    user_delay_seconds: Annotated[float, Field(ge=0, le=1)] = 0.5
    cancels_per_second: int = Field(10, ge=1)


class Audit(_Section):
    """`durability`: "write" hands each record to the operating system before its statement leaves; "fsync" waits for disk.

    `also`: where copies of each record go besides the files. The files are the record; a copy that cannot be delivered is
    counted and lost.
    """

    directory: Path | None = None
    durability: Literal["write", "fsync"] = "write"
    rotate_bytes: Bytes = 256 * 1024 * 1024
    max_statement_bytes: Bytes = 64 * 1024
    also: list[Literal["stdout", "syslog"]] = []
    syslog_address: str = "/dev/log"


class Policy(_Section):
    """`judge_inline_bytes`: larger texts are judged in a child process.

    What is in a database is read again every `catalog_seconds` while read-only sessions of it live, within
    `catalog_timeout_seconds`; older than `catalog_stale_seconds` it is not relied on any more. `other_sessions`: whether read-only
    sessions see what others of the same database role run.
    """

    judge_inline_bytes: Bytes = 16 * 1024
    judge_timeout_seconds: Seconds = 10.0
    verdict_cache_entries: int = Field(10_000, ge=1)
    verdict_cache_bytes: Bytes = 32 * 1024 * 1024
    catalog_seconds: Seconds = 30.0
    catalog_stale_seconds: Seconds = 300.0
    catalog_timeout_seconds: Seconds = 15.0
    other_sessions: Literal["shared", "hidden"] = "shared"


class StatementCaps(_Section):
    """How far a read-only session may raise its own settings, in PostgreSQL's units. `timeout`: of each setting that is one."""

    timeout: Milliseconds = Caps().timeout_milliseconds
    work_mem: Kilobytes = Caps().work_mem_kilobytes
    hash_mem_multiplier: float = Field(Caps().hash_mem_multiplier, ge=1, le=1000)
    max_parallel_workers_per_gather: int = Field(Caps().parallel_workers, ge=0, le=1024)

    @property
    def caps(self) -> Caps:
        return Caps(self.timeout, self.work_mem, self.hash_mem_multiplier, self.max_parallel_workers_per_gather)


class Store(_Section):
    """Where state is kept: an SQLite file, or `postgresql://user@host/database?sslmode=...`, the password in `password_file`.

    `stale_after_seconds`: how long the store may be silent until new sessions are refused. `on_stale`: "end" ends live sessions
    too, after `end_after_seconds` of silence; "refuse" lets them go on.
    """

    url: Annotated[str, AfterValidator(_store_url)] | None = None
    password_file: Path | None = None
    poll_seconds: Seconds = 0.25
    stale_after_seconds: Seconds = 1.5
    on_stale: Literal["end", "refuse"] = "end"
    end_after_seconds: Seconds = 30.0


class AdminApi(_WithCertificate):
    """The admin API, a process of its own. `allow`: from which networks it answers at all.

    `names`: by which it is asked for in plain HTTP, beside localhost and addresses, say by a proxy on the same machine.

    `tls`: "auto" speaks plain HTTP on a loopback address and TLS on any other, with `cert_file`, else the gateway's certificate.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(6480, ge=0, le=65535)
    tls: Literal["auto", "require"] = "auto"
    allow: list[Network] = ["127.0.0.0/8", "::1/128"]
    names: list[str] = []
    max_body_bytes: Bytes = 1024 * 1024


class Users(_Section):
    """Which names and passwords new users may have; lengths in characters. See `UserRules`. Who is there already stays."""

    name_min: int = Field(UserRules().name_min, ge=1, le=LONGEST_NAME)
    name_max: int = Field(UserRules().name_max, ge=1, le=LONGEST_NAME)
    name_characters: Annotated[str, AfterValidator(_characters)] = UserRules().name_characters
    password_min: int = Field(UserRules().password_min, ge=SHORTEST_PASSWORD, le=LONGEST_PASSWORD)
    password_max: int = Field(UserRules().password_max, ge=SHORTEST_PASSWORD, le=LONGEST_PASSWORD)
    password_forbidden: Annotated[str, AfterValidator(_forbidden)] = UserRules().password_forbidden
    generated_length: int = Field(UserRules().generated_length, ge=SHORTEST_PASSWORD, le=LONGEST_PASSWORD)

    @model_validator(mode="after")
    def _in_order(self) -> "Users":
        if self.name_min > self.name_max:
            raise ValueError("name_min should not be above name_max")
        if self.password_min > self.password_max:
            raise ValueError("password_min should not be above password_max")
        if not self.password_min <= self.generated_length <= self.password_max:
            raise ValueError("generated_length should lie between password_min and password_max")
        return self

    @property
    def rules(self) -> UserRules:
        return UserRules(**dict(self))


class Settings(_Section):
    """All of it. `load` is the way to make one."""

    state_dir: Path
    listen: Listen = Listen()
    tls: Tls = Tls()
    public: Public = Public()
    credentials: Credentials = Credentials()
    sign_in: SignIn = SignIn()
    oidc: Oidc = Oidc()
    limits: Limits = Limits()
    throttle: Throttle = Throttle()
    audit: Audit = Audit()
    policy: Policy = Policy()
    statement_caps: StatementCaps = StatementCaps()
    store: Store = Store()
    users: Users = Users()
    secrets: Secrets = Secrets()
    vault: Vault = Vault()
    aws: Aws = Aws()
    google: Google = Google()
    notify: Notify = Notify()
    mail: Mail = Mail()
    pagerduty: PagerDuty = PagerDuty()
    slack: Slack = Slack()
    admin_api: AdminApi = AdminApi()

    @property
    def audit_dir(self) -> Path:
        return self.audit.directory or self.state_dir / "audit"

    @property
    def store_url(self) -> str:
        return self.store.url or f"sqlite+aiosqlite:///{self.state_dir / 'store.sqlite3'}"

    @property
    def key_file(self) -> Path:
        return self.state_dir / "master.key"

    @property
    def tls_dir(self) -> Path:
        return self.state_dir / "tls"

    @property
    def bus_socket(self) -> Path:
        return self.state_dir / "bus.sock"
