"""Webhooks by command: secrets are asked for, or shown once; what was to be delivered is listed, and sent again."""

from pathlib import Path

from tests.cli.world import World

HIDDEN = "hidden-part-5521"


def test_created_listed_changed_and_deleted(world: World) -> None:
    world.here().run("environments", "create", "production")
    world.secrets.append(HIDDEN)
    words = [
        "--to",
        "https://chat.example.com/{secret}",
        "--body",
        "chat",
        "--environment",
        "production",
        "--topic",
        "approved",
    ]
    made = world.run("webhooks", "create", "chat", *words, given=f"{HIDDEN}\n")
    secret = made.stdout.splitlines()[-1]
    assert secret.startswith("whsec_")
    assert "shown only now" in made.stderr
    (listed,) = world.json("webhooks", "list")
    assert (listed["url"], listed["body"], listed["environments"]) == (
        "https://chat.example.com/{secret}",
        "chat",
        ["production"],
    )
    assert listed["topics"] == ["access_request.approved"]
    shown = world.run("webhooks", "show", "chat").stdout
    assert "approved" in shown
    assert secret not in shown
    assert world.run("webhooks", "update", "chat", "--disable", "--all-topics").stdout == 'Webhook "chat" changed.\n'
    changed = world.json("webhooks", "show", "chat")
    assert (changed["enabled"], changed["topics"], changed["environments"]) == (False, [], ["production"])
    rotated = world.run("webhooks", "rotate-secret", "chat").stdout.strip()
    assert rotated.startswith("whsec_")
    assert rotated != secret
    assert world.run("webhooks", "deliveries", "chat").stdout == 'Nothing was sent to "chat" yet.\n'
    assert world.run("webhooks", "redeliver", "--all-dead").stdout == "There is nothing to send again.\n"
    assert world.run("webhooks", "delete", "chat").stdout == 'Webhook "chat" deleted.\n'
    assert "No webhooks." in world.run("webhooks", "list").stdout


def test_refusals(local: World, tmp_path: Path) -> None:
    local.run("webhooks", "create", "x", "--to", "https://h.example/", "--body", "template", status=2)
    local.run("webhooks", "create", "x", "--to", "https://h.example/", "--topic", "nothing", status=2)
    local.run("webhooks", "update", "x", status=2)
    local.run("webhooks", "redeliver", status=2)
    assert 'there is no webhook "x"' in local.error("webhooks", "show", "x")
    assert "there is no delivery" in local.error("webhooks", "redeliver", "nope")
    file = tmp_path / "body.json"
    file.write_text("{")
    assert "error: " in local.error(
        "webhooks", "create", "x", "--to", "https://h.example/", "--body", "template", "--template", str(file)
    )
