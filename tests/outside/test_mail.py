"""Letters are sent whole, to one address, and nobody writes headers through them."""

from __future__ import annotations

import datetime as dt
import ssl
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from outside import mail
from outside.mail import MailRefused, MailUnavailable
from tests.outside.smtp_server import mail_server

BREAKS = ["a@b.example\r\nBcc: all@b.example", "a@b.example\nX: y", "a@b.example\0", "a\r@b.example"]
NO_ADDRESSES = [
    "",
    "a",
    "@b.example",
    "a@",
    "a@b.example, c@d.example",
    "a b@c.example",
    "<a@b.example>",
    "a@b@c.example",
]


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for 127.0.0.1 and a client's that trusts it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_a_letter_in_the_folder_is_one_file_for_its_owner_alone(tmp_path):
    folder = tmp_path / "mail"
    text = "Grüße 🎬\nhttps://example.org/reset?token=abc\n"
    await mail.FolderMailer(folder).send("alice@example.com", "Zurücksetzen", text)
    (path,) = folder.iterdir()
    letter = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert (letter["To"], letter["Subject"]) == ("alice@example.com", "Zurücksetzen")
    assert letter.get_content().replace("\r\n", "\n") == text
    assert path.suffix == ".eml"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("to", BREAKS + NO_ADDRESSES)
async def test_an_address_that_is_none_is_refused_and_nothing_is_written(tmp_path, to):
    with pytest.raises(MailRefused):
        await mail.FolderMailer(tmp_path / "mail").send(to, "Hello", "text")
    assert not (tmp_path / "mail").exists()


@pytest.mark.parametrize("subject", ["Hi\r\nBcc: all@b.example", "Hi\n\nbody", "Hi\x7f", "x" * 201])
async def test_a_subject_with_a_line_break_is_refused(tmp_path, subject):
    with pytest.raises(MailRefused):
        await mail.FolderMailer(tmp_path / "mail").send("alice@example.com", subject, "text")
    assert not (tmp_path / "mail").exists()


async def test_text_that_looks_like_headers_stays_text(tmp_path):
    await mail.FolderMailer(tmp_path).send("alice@example.com", "Hi", "Bcc: all@b.example\n\n.\nQUIT\n")
    (path,) = tmp_path.iterdir()
    letter = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert letter["Bcc"] is None
    assert letter.get_content().replace("\r\n", "\n") == "Bcc: all@b.example\n\n.\nQUIT\n"


async def test_smtp_delivers_to_the_one_address():
    async with mail_server() as server:
        mailer = mail.SmtpMailer(f"smtp://127.0.0.1:{server.port}?from=Atrium%20%3Cno-reply%40example.org%3E")
        await mailer.send("alice@example.com", "Hi", "one\n.\ntwo\n")
    letter = message_from_bytes(server.letters[0].removesuffix(b".\r\n"), policy=policy.default)
    assert (letter["To"], letter["From"]) == ("alice@example.com", "Atrium <no-reply@example.org>")
    assert [line for line in server.commands if line.upper().startswith("RCPT")] == ["rcpt TO:<alice@example.com>"]


async def test_a_password_is_not_sent_in_the_open():
    async with mail_server(offers=("AUTH PLAIN LOGIN",)) as server:
        mailer = mail.SmtpMailer(f"smtp://me:hush@127.0.0.1:{server.port}")
        with pytest.raises(MailUnavailable) as failed:
            await mailer.send("alice@example.com", "Hi", "text")
    assert not any(line.upper().startswith("AUTH") for line in server.commands)
    assert "hush" not in f"{failed.value} {mailer!r}"


async def test_smtps_signs_in_after_tls_and_trusts_only_who_it_should(tmp_path):
    ours, trusting = certificate(tmp_path)
    async with mail_server(tls=ours, offers=("AUTH PLAIN",)) as server:
        url = f"smtps://me:hush@localhost:{server.port}"
        await mail.SmtpMailer(url, context=trusting).send("alice@example.com", "Hi", "text")
        assert len(server.letters) == 1
        with pytest.raises(MailUnavailable, match="SSLCertVerificationError"):
            await mail.SmtpMailer(url).send("alice@example.com", "Hi", "text")
        assert len(server.letters) == 1


async def test_an_unknown_recipient_is_refused_and_a_missing_server_is_unavailable():
    async with mail_server(refuses=True) as server:
        with pytest.raises(MailRefused):
            await mail.SmtpMailer(f"smtp://127.0.0.1:{server.port}").send("alice@example.com", "Hi", "text")
    with pytest.raises(MailUnavailable):
        await mail.SmtpMailer(f"smtp://127.0.0.1:{server.port}").send("alice@example.com", "Hi", "text")


@pytest.mark.parametrize("url", ["", "http://x.example", "smtp://", "mail.example:25"])
def test_a_wrong_url_is_refused(url):
    with pytest.raises(ValueError, match="ATRIUM_SMTP_URL"):
        mail.SmtpMailer(url)
