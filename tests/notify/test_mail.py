"""Messages by e-mail: over TLS where they leave the machine, as plain text, and with nothing in a header that is not ours."""

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.notify.delivering import Dead, Delivered, Later, Outcome
from gateway.notify.mail import MailOffice, is_address
from gateway.notify.people import People
from gateway.ports import OutboxMessage
from gateway.services import users
from gateway.settings.notify import Mail
from tests.notify.world import BY, World, message
from tests.support.fakes.mail import PASSWORD, USER, Mailbox, mail_server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(made)
    return made


def settings(box: Mailbox, **more: object) -> Mail:
    return Mail(**{"host": "127.0.0.1", "port": box.port, "tls": "none", "sender": "pgbastion@corp.example", **more})


def trusting(authority: trustme.CA, folder: Path, **more: object) -> dict[str, object]:
    file = folder / "mail-ca.pem"
    authority.cert_pem.write_to_path(str(file))
    password = folder / "mail-password"
    password.write_text(f"{PASSWORD}\n")
    return {"host": "localhost", "ca_file": file, "username": USER, "password_file": password, **more}


async def sent(world: World, mail: Mail, each: OutboxMessage) -> Outcome:
    return await MailOffice(await world.means(mail=mail)).deliver(each)


async def test_a_letter_says_what_happened_and_what_to_do(world: World) -> None:
    with mail_server() as box:
        assert await sent(world, settings(box), message("mail:dba@corp.example")) == Delivered()
        await sent(world, settings(box), message("mail:dba@corp.example"))
    first, again = box.letters
    assert box.recipients == ["dba@corp.example"] * 2
    assert first["subject"] == "Request 17: alice asks for read_only on orders"
    assert (first["from"], first["to"]) == ("pgbastion <pgbastion@corp.example>", "dba@corp.example")
    assert first["message-id"] == again["message-id"] == "<m-1@corp.example>"
    assert first["references"] == "<r-1@corp.example>"
    assert first.get_content_type() == "text/plain"
    text = first.get_content()
    assert "Reason: to look" in text
    assert "pgbastion request approve 17" in text


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd does not see TLS that was there from the first byte
async def test_over_tls_and_with_a_login(world: World, authority: trustme.CA, context: ssl.SSLContext) -> None:
    for at_once in (False, True):
        how = {"tls": "tls" if at_once else "starttls"}
        with mail_server(context, from_the_first_byte=at_once, login=True) as box:
            mail = settings(box, **trusting(authority, world.folder, **how))
            assert await sent(world, mail, message("mail:dba@corp.example")) == Delivered()
            assert (box.encrypted, box.logged_in) == ([True], [True])
            (world.folder / "mail-password").write_text("wrong")
            refused = await sent(world, mail, message("mail:dba@corp.example"))
            assert refused == Later(None, "the mail server does not take our user name and password (535)")
            assert len(box.letters) == 1


async def test_a_server_without_tls_or_of_a_stranger_gets_nothing(
    world: World, authority: trustme.CA, context: ssl.SSLContext
) -> None:
    with mail_server(login=True) as box:  # offers no STARTTLS: what somebody on the way would make of it
        mail = settings(box, **trusting(authority, world.folder, tls="starttls"))
        refused = await sent(world, mail, message("mail:dba@corp.example"))
        assert isinstance(refused, Later)
        assert "no TLS" in refused.why
        assert box.letters == []
    with mail_server(context) as box:
        mail = settings(box, **trusting(trustme.CA(), world.folder, tls="starttls"))
        refused = await sent(world, mail, message("mail:dba@corp.example"))
        assert isinstance(refused, Later)
        assert "certificate does not verify" in refused.why
        assert box.letters == []
    assert PASSWORD not in str(refused)
    with pytest.raises(ValueError, match="this machine"):
        Mail(host="mail.corp.example", tls="none", sender="a@b.example")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("450 later", Later(None, "the mail server does not take this address (450)")),
        ("550 secret-canary no such user", Dead("the mail server does not take this address (550)")),
    ],
)
async def test_what_the_server_refuses(world: World, reply: str, expected: Outcome) -> None:
    with mail_server() as box:
        box.refuse = reply
        assert await sent(world, settings(box), message("mail:dba@corp.example")) == expected
    assert await sent(world, settings(box), message("mail:dba@corp.example")) == Later(
        None, "the mail server cannot be reached (SMTPConnectError)"
    )


async def test_nothing_that_people_write_gets_into_a_header(world: World) -> None:
    evil = "x\\r\\nBcc: all@corp.example\\r\\n\\r\\nbody"
    subject = '"place": "orders\\r\\nBcc: all@corp.example"'
    with mail_server() as box:
        each = message("mail:dba@corp.example", evil)
        payload = each.payload.replace('"place": "orders"', subject)
        assert await sent(world, settings(box), message("mail:dba@corp.example", evil, payload=payload)) == Delivered()
        for address in (
            "a@b.example\r\nBcc: c@d.example",
            "a@b.example, c@d.example",
            "<a@b.example>",
            "a b@c.example",
            "a",
            "@b",
        ):
            assert await sent(world, settings(box), message(f"mail:{address}")) == Dead("the address cannot be one")
    (letter,) = box.letters
    assert letter["bcc"] is None
    assert box.recipients == ["dba@corp.example"]
    assert not is_address("ü@b.example")


async def test_a_person_is_reached_where_they_have_an_address(world: World) -> None:
    await users.update_user(world.store, name="alice_m", email="Alice@corp.example", **BY)
    snapshot = await world.store.read()
    alice, bob = snapshot.users["alice_m"].id, snapshot.users["bob_jones"].id
    with mail_server() as box:
        means = await world.means(mail=settings(box))
        people = People(means, [MailOffice(means)])
        assert await people.deliver(message(f"person:{alice}")) == Delivered()
        nobody = await people.deliver(message(f"person:{bob}"))
        gone = await people.deliver(message("person:nobody"))
    assert box.recipients == ["Alice@corp.example"]
    assert isinstance(nobody, Delivered)
    assert nobody.dropped.startswith("there is no way to reach this person")
    assert gone == Delivered(dropped="the account is gone")
