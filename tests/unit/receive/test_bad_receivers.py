"""Receivers that misbehave, each on a real socket: one clear reason, within its time, and nothing of what they said."""

import asyncio
import datetime as dt
import ssl
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from passerelle.receive.webhook import NotTaken, Receiver, utc_now

SECRET = bytes(32)
HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWER_S = 0.5


async def endless(writer):
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    with suppress(ConnectionError):
        while True:
            writer.write(b"5\r\nMarie\r\n")
            await writer.drain()
            await asyncio.sleep(0)  # the client's turn: both are on one loop


async def drip(writer):
    with suppress(ConnectionError):
        for n in range(1_000):
            writer.write(HEAD if n == 0 else b"x-%d: Marie\r\n" % n)
            await writer.drain()
            await asyncio.sleep(ANSWER_S / 10)  # each read in time, all of them never


async def hang(_writer):
    await asyncio.sleep(60)


async def close_early(writer):
    writer.write(HEAD[:9])


async def garbage(writer):
    writer.write(b"Marie Curie\r\n\r\n")


async def a_huge_header(writer):
    writer.write(HEAD + b"x-marie: " + b"m" * 200_000 + b"\r\n\r\n")


def answering(head):
    async def answer(writer):
        writer.write(head + b"\r\ncontent-length: 0\r\n\r\n")

    return answer


@asynccontextmanager
async def receiving(behave, *, tls=None):
    """A receiver that reads what it is sent, then behaves. Yields its port and all that it read."""
    got, ending = [], asyncio.Event()

    async def serve(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            got.append(await reader.readuntil(b"\r\n\r\n"))
            behaving, ended = asyncio.ensure_future(behave(writer)), asyncio.ensure_future(ending.wait())
            await asyncio.wait({behaving, ended}, return_when=asyncio.FIRST_COMPLETED)
            behaving.cancel()
            ended.cancel()
        writer.close()
        done.release()

    done = asyncio.Semaphore(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        server.close()
        ending.set()
        for _ in got:
            await done.acquire()


async def posted(url, **client):
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, **client) as http:
        receiver = Receiver(url=url, secret=SECRET, client=http, now=utc_now, answer_s_max=ANSWER_S)
        async with asyncio.timeout(10 * ANSWER_S):
            await receiver.post("00", b"{}")


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (answering(b"HTTP/1.1 500 Marie"), "status 500"),
        (answering(b"HTTP/1.1 307 x\r\nlocation: http://169.254.169.254/"), "redirects (307), which is not followed"),
        (hang, "no answer in time"),
        (drip, "no answer in time"),
        (close_early, "no answer (RemoteProtocolError)"),
        (garbage, "no answer (RemoteProtocolError)"),
        (a_huge_header, "no answer (RemoteProtocolError)"),
    ],
)
async def test_what_a_receiver_does_wrong_is_a_clear_reason_in_time(behave, reason):
    async with receiving(behave) as (port, _):
        with pytest.raises(NotTaken) as raised:
            await posted(f"http://127.0.0.1:{port}/hook")
    assert str(raised.value) == reason


async def test_a_body_without_end_is_not_read():
    async with receiving(endless) as (port, _):
        await posted(f"http://127.0.0.1:{port}/hook")


async def test_nobody_there_and_no_such_name():
    for url in ("http://127.0.0.1:1/hook", "https://receiver.invalid/hook"):
        with pytest.raises(NotTaken, match=r"no answer \(ConnectError\)"):
            await posted(url)


async def test_a_name_that_leads_elsewhere_has_not_its_certificate_and_gets_nothing(tmp_path):
    """As after DNS rebinding: the address answers in TLS, with a certificate that we trust, of another name."""
    tls, trusted = certificate_of("elsewhere.example", tmp_path)
    async with receiving(answering(b"HTTP/1.1 200 OK"), tls=tls) as (port, got):
        with pytest.raises(NotTaken, match=r"no answer \(ConnectError\)"):
            await posted(f"https://localhost:{port}/hook", verify=trusted)
    assert got == []


async def test_a_receiver_in_the_citys_own_network_is_reached_by_its_certificate(tmp_path):
    tls, trusted = certificate_of("localhost", tmp_path)
    async with receiving(answering(b"HTTP/1.1 204 No Content"), tls=tls) as (port, got):
        await posted(f"https://localhost:{port}/hook", verify=trusted)
    assert len(got) == 1


def certificate_of(name, folder):
    """What a server of that name shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "both.pem").write_bytes(private + pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "both.pem")
    return serving, ssl.create_default_context(cadata=pem.decode())
