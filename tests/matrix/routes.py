"""Every route of the API with a request that an owner may make, and what it takes."""

from dataclasses import dataclass
from typing import Any, Final

from tests.matrix.world import LATER, Need

READ: Final = ("app", "read_configuration")
LOGS: Final = ("database", "stream_logs")
MODIFY: Final = ("database", "restart_reload_modify")
POLICY: Final = ("environment", "manage_backup_retention_policy")
OWNER, ANYBODY = "owner", "anybody"
OPEN: Final = "open"
"""Asked without a token, or without end: not a matter of permissions."""

_LISTINGS: Final = (
    "users groups targets target-health grants environments roles allowlist sessions audit tokens credentials "
    "policy/rules manifest/schema permissions/verbs whoami me lockdown access-requests askable approval-policies webhooks"
)
"""Anybody may ask for them; what they show is another matter."""

_PATCH: Final = {"max_sessions": 9}
_TOKEN: Final = {"name": "new", "scope": "read", "valid_until": LATER.isoformat()}
_LOGIN: Final = {"login": "app_ro", "password": "upstream password"}
_GRANT: Final = {"user": "bob_b", "target": "sales", "mode": "read_write"}
_OWN_ENTRY: Final = {"network": "10.2.0.0/16", "level": {"target": "sales"}}
_POLICY: Final = {"name": "new", "environment": "here", "modes": ["read_write"], "steps": [{"approvers": ["user:boss"]}]}
_VERDICT: Final = {"fingerprint": "0" * 64}
_WEBHOOK: Final = {"name": "new", "url": "https://siem.example.com/hook"}


@dataclass(frozen=True)
class Route:
    """`path`: as it is asked; {me} is the actor's name. `template`: as the API's document has it."""

    method: str
    template: str
    path: str
    need: Need
    json: Any = None


def _route(method: str, template: str, need: Need, json: Any = None, *, query: str = "", **names: str) -> Route:
    path = template
    for name, value in names.items():
        path = path.replace("{" + name + "}", value)
    return Route(method, template, path + query, need, json)


def _target(method: str, rest: str, need: Need, json: Any = None, **more: str) -> Route:
    return _route(method, f"/v1/targets/{{name}}{rest}", need, json, name="sales", **more)


ROUTES: Final = [
    *(_route("GET", path, OPEN) for path in ("/healthz", "/readyz", "/metrics", "/v1/sessions/stream", "/v1/audit/stream")),
    *(
        _route("POST", f"/v1/sign-in{rest}", OPEN)
        for rest in ("", "/enrolment", "/enrolment/confirm", "/password", "/provider", "/provider/finish")
    ),
    _route("DELETE", "/v1/sign-in", OPEN),
    *(_route("GET", f"/v1/{path}", ANYBODY) for path in _LISTINGS.split()),
    _route("POST", "/v1/users", OWNER, {"name": "dora_d"}),
    _route("GET", "/v1/users/{name}", READ, name="carl_c"),
    _route("GET", "/v1/users/{name}", ANYBODY, name="{me}"),
    _route("PATCH", "/v1/users/{name}", OWNER, {"enabled": False}, name="bob_b"),
    _route("DELETE", "/v1/users/{name}", OWNER, name="bob_b"),
    _route("POST", "/v1/users/{name}/password", OWNER, {}, name="bob_b"),
    _route("POST", "/v1/users/{name}/password", ANYBODY, {}, name="{me}"),
    _route("POST", "/v1/groups", OWNER, {"name": "ops"}),
    _route("GET", "/v1/groups/{name}", READ, name="staff"),
    _route("DELETE", "/v1/groups/{name}", OWNER, name="staff"),
    _route("PUT", "/v1/groups/{name}/members/{user}", OWNER, name="staff", user="bob_b"),
    _route("PUT", "/v1/groups/{name}/members/{user}", OWNER, name="staff", user="{me}"),
    _route("DELETE", "/v1/groups/{name}/members/{user}", OWNER, name="staff", user="carl_c"),
    _route("POST", "/v1/targets", ("database", "create"), {"name": "new", "host": "h", "dbname": "d", "environment": "here"}),
    _target("GET", "", "any"),
    _target("PATCH", "", MODIFY, _PATCH),
    _target("PATCH", "", ("database", "create_endpoints"), {"allowlist": "restrict"}),
    _target("DELETE", "", ("database", "deprovision")),
    _target("PUT", "/logins/{mode}", ("database", "read_credentials"), _LOGIN, mode="read_only"),
    _target("DELETE", "/logins/{mode}", ("database", "read_credentials"), mode="read_only"),
    _target("PUT", "/permits/{kind}/{item}", POLICY, kind="schema", item="shop"),
    _target("DELETE", "/permits/{kind}/{item}", POLICY, kind="function", item="shop.f"),
    _target("PUT", "/environment", POLICY, {"environment": "hollow"}),
    _target("POST", "/check", MODIFY),
    _target("POST", "/rotate-credential", ("database", "read_credentials")),
    _target("PUT", "/managed", ("database", "read_credentials"), {"managed": "per-user"}),
    _target("GET", "/managed-logins", READ),
    _target("POST", "/clean", ("database", "read_credentials")),
    _target("PATCH", "", MODIFY, {"rotate_every_days": 30}),
    _target("GET", "/adoption", READ),
    _target("POST", "/adoption", ("database", "read_credentials"), {}),
    _target("POST", "/adoption/undo", ("database", "read_credentials"), {}),
    _target("DELETE", "/adoption/admin", ("database", "read_credentials")),
    _target("GET", "/outside-use", LOGS),
    _target("PUT", "/observation", MODIFY, {"every_seconds": 60}),
    _target("DELETE", "/observation", MODIFY),
    _target("POST", "/refresh", MODIFY),
    _target("POST", "/audit", READ),
    _target("POST", "/preview", READ, query="?entry=shop.g"),
    _target("GET", "/init-sql", READ),
    _route("POST", "/v1/grants", POLICY, _GRANT),
    _route("DELETE", "/v1/grants", POLICY, query="?target=sales&user=bob_b"),
    _route("GET", "/v1/grants/why", READ, query="?target=sales&user=bob_b"),
    _route("GET", "/v1/grants/{grant_id}", READ, grant_id="g-1"),
    _route("PATCH", "/v1/grants/{grant_id}", POLICY, {"valid_until": LATER.isoformat()}, grant_id="g-1"),
    _route("DELETE", "/v1/grants/{grant_id}", POLICY, grant_id="g-1"),
    _route("POST", "/v1/environments", OWNER, {"name": "new"}),
    _route("GET", "/v1/environments/{name}", "any", name="here"),
    _route("PATCH", "/v1/environments/{name}", ("environment", "rename"), {"name": "renamed"}, name="here"),
    _route("DELETE", "/v1/environments/{name}", ("environment", "deprovision"), name="hollow"),
    _route("POST", "/v1/roles", OWNER, {"name": "new"}),
    _route("GET", "/v1/roles/{name}", OWNER, name="spare"),
    _route("DELETE", "/v1/roles/{name}", OWNER, name="spare"),
    _route("PATCH", "/v1/roles/{name}/members", OWNER, {"add": ["bob_b"]}, name="spare"),
    _route("PATCH", "/v1/roles/{name}/members", OWNER, {"add": ["{me}"]}, name="spare"),
    _route(
        "PUT",
        "/v1/roles/{name}/environments/{environment}",
        OWNER,
        {"permissions": ["tunnel"]},
        name="spare",
        environment="here",
    ),
    _route(
        "DELETE",
        "/v1/roles/{name}/environments/{environment}/{permission}",
        OWNER,
        name="spare",
        environment="here",
        permission="read",
    ),
    _route("GET", "/v1/permissions/report", OWNER),
    _route("GET", "/v1/permissions/users/{user}", OWNER, user="bob_b"),
    _route("GET", "/v1/permissions/users/{user}", ANYBODY, user="{me}"),
    _route("GET", "/v1/permissions/users/{user}/why/{verb}", OWNER, user="bob_b", verb="targets.delete", query="?target=sales"),
    _route("GET", "/v1/permissions/users/{user}/why/{verb}", "any", user="{me}", verb="targets.delete", query="?target=sales"),
    _route("POST", "/v1/allowlist", OWNER, {"network": "10.2.0.0/16"}),
    _route("POST", "/v1/allowlist", OWNER, {"network": "10.2.0.0/16", "level": {"user": "bob_b"}}),
    _route("POST", "/v1/allowlist", ("database", "create_endpoints"), _OWN_ENTRY),
    _route("GET", "/v1/allowlist/{entry_id}", READ, entry_id="n-sales"),
    _route("GET", "/v1/allowlist/{entry_id}", OWNER, entry_id="n-all"),
    _route("DELETE", "/v1/allowlist/{entry_id}", ("database", "deprovision_endpoints"), entry_id="n-sales"),
    _route("DELETE", "/v1/allowlist/{entry_id}", OWNER, entry_id="n-all"),
    _route("POST", "/v1/sessions/terminate", ANYBODY, {"all": True}),
    _route("GET", "/v1/sessions/{session_id}", LOGS, session_id="s-sales"),
    _route("POST", "/v1/sessions/{session_id}/cancel", MODIFY, session_id="s-sales"),
    _route("POST", "/v1/sessions/{session_id}/terminate", MODIFY, session_id="s-sales"),
    _route("POST", "/v1/policy/explain", READ, {"sql": "SELECT 1", "target": "sales"}),
    _route("POST", "/v1/policy/explain", ANYBODY, {"sql": "SELECT 1"}),
    _route("GET", "/v1/manifest", OWNER),
    _route("POST", "/v1/manifest", OWNER, {"version": 1, "groups": [{"name": "new", "members": []}]}),
    _route("POST", "/v1/tokens", ANYBODY, _TOKEN),
    _route("POST", "/v1/tokens", OWNER, {**_TOKEN, "user": "bob_b"}),
    _route("GET", "/v1/tokens/{name}", OWNER, name="bobs"),
    _route("DELETE", "/v1/tokens/{name}", OWNER, name="bobs"),
    _route("PUT", "/v1/lockdown", OWNER),
    _route("DELETE", "/v1/lockdown", OWNER),
    _route("POST", "/v1/credentials", ("database", "create_tunnels"), {"target": "sales"}),
    _route("POST", "/v1/credentials", OWNER, {"target": "sales", "user": "bob_b"}),
    _route("GET", "/v1/credentials/{credential}", OWNER, credential="cccccccc-0000-4000-8000-000000000001"),
    _route("DELETE", "/v1/credentials/{credential}", OWNER, credential="cccccccc-0000-4000-8000-000000000001"),
    # Whose request it is, and who decides, is no matter of permissions: to see one, and to take its right away, is.
    _route("POST", "/v1/access-requests", ANYBODY, {"target": "nowhere"}),
    _route("GET", "/v1/access-requests/{request}", READ, request="1"),
    _route("GET", "/v1/access-requests/{request}/review", READ, request="1"),
    *(_route("POST", f"/v1/access-requests/{{request}}/{word}", READ, _VERDICT, request="1") for word in ("approve", "deny")),
    *(_route("POST", f"/v1/access-requests/{{request}}/{word}", OPEN, request="1") for word in ("cancel", "relinquish")),
    _route("POST", "/v1/access-requests/{request}/review", READ, {}, request="1"),
    _route("POST", "/v1/access-requests/{request}/revoke", POLICY, request="1"),
    _route("POST", "/v1/approval-policies", OWNER, _POLICY),
    _route("GET", "/v1/approval-policies/{name}", READ, name="here"),
    _route("PATCH", "/v1/approval-policies/{name}", OWNER, {"max_seconds": 7200}, name="here"),
    _route("DELETE", "/v1/approval-policies/{name}", OWNER, name="here"),
    _route("POST", "/v1/webhooks", OWNER, _WEBHOOK),
    _route("GET", "/v1/webhooks/{name}", OWNER, name="siem"),
    _route("PATCH", "/v1/webhooks/{name}", OWNER, {"enabled": False}, name="siem"),
    _route("DELETE", "/v1/webhooks/{name}", OWNER, name="siem"),
    _route("POST", "/v1/webhooks/{name}/secret", OWNER, {}, name="siem"),
    _route("POST", "/v1/webhooks/{name}/test", OWNER, name="siem"),
    _route("GET", "/v1/deliveries", OWNER),
    _route("POST", "/v1/deliveries/{delivery}/redeliver", OWNER, delivery="o-1"),
    _route("GET", "/v1/accounts", OWNER),
    _route("POST", "/v1/accounts", OWNER, {"user": "carl_c"}),
    _route("GET", "/v1/accounts/{name}", OWNER, name="bob_b"),
    _route("PATCH", "/v1/accounts/{name}", OWNER, {"managed": True}, name="bob_b"),
    _route("DELETE", "/v1/accounts/{name}", OWNER, name="bob_b"),
    _route("POST", "/v1/accounts/{name}/recovery", OWNER, {}, name="bob_b"),
    _route("DELETE", "/v1/accounts/{name}/sign-ins", OWNER, name="bob_b"),
    _route("PUT", "/v1/accounts/{name}/identity", OWNER, {"issuer": "https://idp.example", "subject": "bob"}, name="bob_b"),
    _route("DELETE", "/v1/accounts/{name}/identity", OWNER, name="bob_b"),
    _route("GET", "/v1/claim-mappings", OWNER),
    _route("POST", "/v1/claim-mappings", OWNER, {"value": "dba", "group": "staff"}),
    _route("GET", "/v1/claim-mappings/{mapping_id}", OWNER, mapping_id="m-1"),
    _route("DELETE", "/v1/claim-mappings/{mapping_id}", OWNER, mapping_id="m-1"),
]
