"""Settings from a file, the environment and flags; what is wrong is said with its place, its key and what is expected."""

from pathlib import Path

import pytest

from gateway.settings import CurrentSettings, Settings, SettingsError, load
from gateway.statements.limits import Bounds, Caps


def file(tmp_path: Path, text: str = "", state: str = 'state_dir = "state"\n') -> Path:
    path = tmp_path / "pgbastion.toml"
    path.write_text(state + text)
    return path


def problem(path: Path, *flags: str, **environment: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(path, flags, environment)
    assert "canary" not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, "[listen]\nport = 1\nworkers = 1\nbacklog = 1\n")
    environment = {
        "PGBASTION_LISTEN__WORKERS": "2",
        "PGBASTION_LISTEN__BACKLOG": "2",
        "PGBASTION_URL": "https://x",
        "HOME": "/x",
    }
    listen = load(path, ["listen.backlog=3"], environment).listen
    assert (listen.port, listen.workers, listen.backlog) == (1, 2, 3)


def test_lists_outside_the_file_are_json(tmp_path: Path) -> None:
    settings = load(file(tmp_path), ['tls.names=["a", "b"]'], {"PGBASTION_ADMIN_API__ALLOW": '["10.0.0.0/8"]'})
    assert settings.tls.names == ["a", "b"]
    assert settings.admin_api.allow == ["10.0.0.0/8"]
    assert "flag --set tls.names: should be a JSON list" in problem(file(tmp_path), "tls.names=[canary")
    assert "should be a valid list" in problem(file(tmp_path), "tls.names=canary")


def test_caps_are_in_the_units_of_postgresql(tmp_path: Path) -> None:
    path = file(tmp_path, '[statement_caps]\ntimeout = "30min"\nwork_mem = 65536\n')
    caps = load(
        path, ["statement_caps.hash_mem_multiplier=2.5"], {"PGBASTION_STATEMENT_CAPS__TIMEOUT": "1500"}
    ).statement_caps.caps
    assert caps == Caps(timeout_milliseconds=1500, work_mem_kilobytes=65536, hash_mem_multiplier=2.5, parallel_workers=8)
    assert load(path, ["statement_caps.work_mem=256MB"], {}).statement_caps.caps.work_mem_kilobytes == 256 * 1024
    assert load(path, (), {}).statement_caps.caps.timeout_milliseconds == 30 * 60 * 1000
    assert Settings(state_dir=tmp_path).statement_caps.caps == Caps()
    assert Settings(state_dir=tmp_path).limits.bounds == Bounds()


def test_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    text = '[admin_api]\ncert_file = "a.pem"\nkey_file = "/k.pem"\n[store]\npassword_file = "p"\n[audit]\ndirectory = "log"\n'
    settings = load(file(tmp_path, text), (), {})
    assert settings.state_dir == tmp_path / "state"
    assert settings.admin_api.cert_file == tmp_path / "a.pem"
    assert settings.admin_api.key_file == Path("/k.pem")
    assert settings.store.password_file == tmp_path / "p"
    assert settings.audit_dir == tmp_path / "log"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[listen]\nport = "canary"\n', "{file}: listen.port: should be a valid integer"),
        ("[listen]\nport = 70000\n", "{file}: listen.port: should be less than or equal to 65535"),
        ('[tls]\nmode = "canary"\n', "{file}: tls.mode: should be 'require', 'allow' or 'disable'"),
        ("[listen]\nprot = 1\n", '{file}: listen.prot: no such setting; did you mean "port"?'),
        ("[throttle]\nnothing_like_it = 1\n", "no such setting; there are: free_failures, window_seconds"),
        ("[lsten]\nport = 1\n", '{file}: lsten: no such setting; did you mean "listen"?'),
        ('listen = "canary"\n', "{file}: listen should be a section: [listen]"),
        (
            '[admin_api]\nallow = ["canary"]\n',
            '{file}: admin_api.allow: should be an address or a network, such as "192.0.2.7"',
        ),
        ('[tls]\ncert_file = "c.pem"\n', "{file}: tls: cert_file and key_file go together: set both or neither"),
        ('[store]\nurl = "mysql://canary"\n', "{file}: store.url: should begin with postgresql:// or sqlite+aiosqlite:///"),
        ("[limits]\nmax_sessions = 0\n", "{file}: limits.max_sessions: should be greater than or equal to 1"),
        ("[listen]\ndrain_seconds = nan\n", "{file}: listen.drain_seconds: should be a finite number"),
        ("[listen\n", "{file} is not valid TOML: Expected"),
        ('[statement_caps]\ntimeout = "canary"\n', "{file}: statement_caps.timeout: should be a time as PostgreSQL writes it"),
        ("[statement_caps]\ntimeout = 0\n", "{file}: statement_caps.timeout: should be greater than or equal to 1"),
        ("[statement_caps]\nwork_mem = true\n", "{file}: statement_caps.work_mem: should be an amount as PostgreSQL writes it"),
        ('[statement_caps]\nwork_mem = "3TB"\n', "{file}: statement_caps.work_mem: should be less than or equal to 2147483647"),
        ("[limits]\nmax_comment_depth = 0\n", "{file}: limits.max_comment_depth: should be greater than or equal to 1"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = file(tmp_path, text)
    assert expected.format(file=path) in problem(path)


def test_a_file_without_its_one_duty_is_told(tmp_path: Path) -> None:
    path = file(tmp_path, state="")
    assert problem(path) == f"{path}: state_dir must be set"


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    path = file(tmp_path, "[listen]\nport = -1\nworkers = 0\n")
    assert len(problem(path).split("; ")) == 2


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    said = problem(file(tmp_path), PGBASTION_LISTEN__PORT="canary")
    assert said.startswith("environment variable PGBASTION_LISTEN__PORT: should be a valid integer")
    assert 'PGBASTION_LISTEN__PROT: no such setting; did you mean "port"?' in problem(
        file(tmp_path), PGBASTION_LISTEN__PROT="1"
    )
    assert 'did you mean "listen"?' in problem(file(tmp_path), PGBASTION_LISTNE__PORT="1")


def test_a_mistake_in_a_flag_names_the_flag(tmp_path: Path) -> None:
    assert problem(file(tmp_path), "listen.port=canary").startswith("flag --set listen.port: should be a valid integer")
    assert problem(file(tmp_path), "listen.port").startswith("flag --set listen.port: should be SECTION.NAME=VALUE")


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in problem(tmp_path / "binary")
    assert "No such file" in problem(tmp_path / "absent")


# --- reloading


def test_what_can_change_changes_and_the_rest_is_named(tmp_path: Path) -> None:
    current = CurrentSettings(load(file(tmp_path), (), {}))
    told: list[Settings] = []
    current.subscribe(told.append)
    text = "[limits]\nmax_sessions = 5\n[listen]\nport = 7\ndrain_seconds = 3.0\n"
    changes = current.replace(load(file(tmp_path, text), (), {}))
    assert changes.live == ("listen.drain_seconds", "limits.max_sessions")
    assert changes.waiting == ("listen.port",)
    assert current.now.limits.max_sessions == 5
    assert current.now.listen.drain_seconds == 3.0
    assert current.now.listen.port == 6432
    assert told == [current.now]


def test_a_reload_without_changes_tells_nobody(tmp_path: Path) -> None:
    current = CurrentSettings(load(file(tmp_path), (), {}))
    told: list[Settings] = []
    current.subscribe(told.append)
    changes = current.replace(load(file(tmp_path), (), {}))
    assert not changes.live
    assert not changes.waiting
    assert not told


def test_settings_survive_their_way_to_a_child(tmp_path: Path) -> None:
    settings = load(file(tmp_path, '[audit]\nalso = ["syslog"]\n[tls]\ncert_file = "c"\nkey_file = "k"\n'), (), {})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
