"""Who may do what: tokens and their roles, proxies, pages of other sites, TLS with and without client certificates."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztmon.gateway.access import Access
from ztmon.gateway.http import Refused
from ztmon.gateway.proxies import TrustedProxies
from ztmon.gateway.settings import GatewayConfig
from ztmon.gateway.tokens import Tokens, add_token, read_tokens, revoke_token
from ztmon.store.sqlite import SQLiteStore

from .gateways import EVENT, PATIENCE, Gateway, start, ztmon

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A store with a token for each role, and their texts by name."""
    store = tmp_path_factory.mktemp("tokens") / "ztmon.db"
    made = {name: ztmon("token", "add", name, "--role", name, "--store", str(store)) for name in ("read", "control", "telemetry")}
    made["shop"] = ztmon("token", "add", "shop", "--role", "telemetry", "--app", "shop", "--store", str(store))
    return store, made


@pytest.fixture(scope="module")
def gateway(tokens):
    with Gateway(store=tokens[0]) as running:
        yield running


ASKED = (("GET", "/partners", None), ("PUT", "/kill-switch", {"on": False, "reason": "x"}), ("POST", "/telemetry", EVENT))


@pytest.mark.parametrize(
    ("name", "allowed"), [(None, [401, 401, 401]), ("wrong", [401, 401, 401]), ("read", [200, 403, 403]),
                          ("control", [200, 200, 403]), ("telemetry", [403, 403, 200])],
)  # fmt: skip
def test_each_role_may_do_its_own(gateway, tokens, name, allowed):
    """Without a token nothing, with one what its role says; the answer names the role that is missing, never the token."""
    token = tokens[1].get(name, "zt_wrong" if name else None)
    found = [gateway.do(method, path, body, token=token) for method, path, body in ASKED]
    assert [status for status, _ in found] == allowed
    for status, problem in found:
        if status in (401, 403):
            assert problem["status"] == status
            assert token is None or token not in json.dumps(problem)
    assert gateway.get("/healthz")[0] == gateway.get("/readyz")[0] == 200
    assert gateway.ask("GET", "/")[0] == 200


def test_a_token_for_given_applications(gateway, tokens):
    """It may send for its own; another's events have a problem each."""
    events = [EVENT | {"appId": app} for app in ("shop", "bank")]
    status, answer = gateway.post(events, token=tokens[1]["shop"])
    assert (status, answer["accepted"], answer["rejected"]) == (200, 1, 1)
    assert answer["problems"][0]["field"] == "appId"
    assert gateway.post([events[1]], token=tokens[1]["shop"])[0] == 422


def test_the_tokens_name_is_in_the_audit_log(gateway, tokens):
    """What a token did stands there under its name; so do the making and the ending of tokens."""
    gateway.do("POST", "/partners/someone/pin", {"level": "alert", "reason": "by token"}, token=tokens[1]["control"])

    def lines():
        return [line["line"] for line in gateway.get("/audit", token=tokens[1]["read"])[1]["lines"] if line["line"]]

    gateway.until(lambda: ("control", "by token") in [(line["who"], line["why"]) for line in lines()])
    assert [line["after"]["name"] for line in lines() if line["what"] == "token added"] == list(tokens[1])
    assert not any(token in json.dumps(lines()) for token in tokens[1].values())


def test_a_revoked_token_is_none_within_seconds(gateway, tokens):
    """Made and revoked while the gateway runs; nothing of it but a hash was ever kept."""
    store = tokens[0]
    token = ztmon("token", "add", "brief", "--role", "read", "--store", str(store))
    gateway.until(lambda: gateway.get("/stats", token=token)[0] == 200)
    assert token.encode() not in b"".join(path.read_bytes() for path in store.parent.iterdir() if path.is_file())
    assert "brief" in ztmon("token", "list", "--store", str(store))
    assert json.loads(ztmon("token", "list", "--json", "--store", str(store)).splitlines()[0])["name"] == "brief"
    ztmon("token", "revoke", "brief", "--store", str(store))
    gateway.until(lambda: gateway.get("/stats", token=token)[0] == 401)


def test_a_public_address_with_a_token_is_served(tmp_path):
    """With a token the gateway may listen on every address; who has none gets nothing."""
    store = tmp_path / "ztmon.db"
    token = ztmon("token", "add", "reader", "--role", "read", "--store", str(store))
    with Gateway("--host", "0.0.0.0", store=store) as running:
        assert running.get("/partners")[0] == 401
        assert running.get("/partners", token=token)[0] == 200
        assert running.ask("GET", "/partners", headers={"host": "gateway.example"}, token=token)[0] == 200


# -- tokens as values ----------------------------------------------------------------------------


def kept(tmp_path):
    return SQLiteStore(str(tmp_path / "ztmon.db"))


def test_tokens_that_end(tmp_path):
    """A token with an end is none after it."""
    store = kept(tmp_path)
    text = add_token(store, "brief", ("read",), None, 1.0)
    late = {name: type(token)(**{**{f: getattr(token, f) for f in token.__slots__}, "ends": time.time() - 1})
            for name, token in read_tokens(store).items()}
    assert Tokens(lambda: read_tokens(store)).find(f"Bearer {text}".encode()).name == "brief"
    assert Tokens(lambda: late).find(f"Bearer {text}".encode()) is None
    store.close()


@pytest.mark.parametrize("make", [("", ("read",)), ("a b", ("read",)), ("x" * 65, ("read",)), ("ok", ("root",)), ("ok", ())])
def test_tokens_that_are_not_made(tmp_path, make):
    """A name that is none, an unknown role and no role at all are refused."""
    store = kept(tmp_path)
    from ztmon.errors import InputError
    with pytest.raises(InputError):
        add_token(store, *make)
    add_token(store, "twice", ("read",))
    with pytest.raises(InputError, match="already"):
        add_token(store, "twice", ("read",))
    assert revoke_token(store, "twice") is True
    assert revoke_token(store, "twice") is False
    store.close()


@given(st.binary(max_size=100))
def test_any_authorization_header_is_answered(header):
    """Whatever is sent as a token is looked up or refused, never anything else."""
    tokens = Tokens(dict)
    assert tokens.find(header) is None
    assert tokens.find(b"Bearer " + header) is None


# -- proxies -------------------------------------------------------------------------------------


def scope(peer, *forwarded, partner=None):
    headers = [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]
    return {"client": (peer, 1), "headers": headers + ([(b"x-partner-id", partner)] if partner else [])}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1:4711, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [", ".join(["10.0.0.2"] * 1000)], "10.0.0.2"),
    ],
)
def test_forwarded_addresses_are_read_from_the_right(peer, forwarded, client):
    """Only what a trusted proxy appended is believed; what a client wrote in front of it never is."""
    assert TrustedProxies(["10.0.0.0/8"]).client(scope(peer, *forwarded)) == client


def test_the_partner_header_counts_from_trusted_proxies_only():
    """From anybody else it could get a rival blocked."""
    proxies = TrustedProxies(["10.0.0.0/8", "::1"])
    assert proxies.partner(scope("10.1.2.3", partner="acmé".encode())) == "acmé"
    assert proxies.partner(scope("::1", partner=b"acme")) == "acme"
    assert proxies.partner(scope("192.0.2.1", partner=b"acme")) == ""
    assert TrustedProxies([]).partner(scope("10.1.2.3", partner=b"acme")) == ""


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_forwarded_header_gives_an_address(texts):
    """Whatever stands in it, the result is the peer's or one that can be read as an address."""
    import ipaddress
    encoded = [text.encode("utf-8", "replace").decode("latin-1") for text in texts]
    found = TrustedProxies(["10.0.0.0/8"]).client(scope("10.0.0.1", *encoded))
    assert ipaddress.ip_address(found)


# -- pages of other sites ------------------------------------------------------------------------


def test_cross_origin_requests_as_configured(tmp_path):
    """A page of an allowed site may ask, after a preflight; another's may not; credentials are never allowed."""
    with Gateway(env={"ZTMON_GATEWAY_ORIGINS": '["https://shop.example"]'}) as gateway:
        asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
        status, headers, _ = gateway.ask("OPTIONS", "/telemetry", headers=asked)
        assert status == 204
        assert headers["access-control-allow-origin"] == "https://shop.example"
        assert "content-type" in headers["access-control-allow-headers"]
        body = json.dumps(EVENT).encode()
        sent = {"origin": "https://shop.example", "content-type": "application/json"}
        status, headers, _ = gateway.ask("POST", "/telemetry", body, sent)
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, "https://shop.example", "origin")
        assert "access-control-allow-credentials" not in headers
        assert gateway.ask("OPTIONS", "/telemetry", headers=asked | {"origin": "https://evil.example"})[0] == 403
        assert gateway.ask("POST", "/telemetry", body, sent | {"origin": "https://evil.example"})[0] == 403
        assert gateway.ask("GET", "/partners", headers={"origin": f"http://127.0.0.1:{gateway.port}"})[0] == 200


@given(st.dictionaries(st.sampled_from([b"host", b"origin", b"authorization"]), st.binary(max_size=50)))
def test_any_headers_are_let_in_or_refused(headers):
    """Arbitrary Host, Origin and Authorization headers lead to an answer, never to anything else."""
    access = Access(GatewayConfig(origins=("https://shop.example",)))
    refused = None
    try:
        access.cors(headers)
        access.who({"client": ("127.0.0.1", 1)}, headers)
    except Refused as error:
        refused = error
    assert refused is None or refused.status in (401, 403, 421)


def test_without_tokens_only_this_machine_is_served():
    """Also where the application is mounted somewhere that others can reach."""
    with pytest.raises(Refused) as refused:
        Access(GatewayConfig()).who({"client": ("192.0.2.1", 1)}, {b"host": b"localhost"})
    assert refused.value.status == 403


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a server's and a client's certificate, made by openssl."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client", "renewed"):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-out", f"{name}.pem", "-extfile", "san")
    return folder


def trusting(certificates, client=False):
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if client:
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    return context


def options(certificates, *more):
    return ("--tls-certificate", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key"), *more)


def test_tls(certificates):
    """With a certificate the gateway speaks TLS and nothing else, and not an old one."""
    with Gateway(*options(certificates), context=trusting(certificates)) as gateway:
        assert gateway.said.startswith("ztmon is at https://")
        assert gateway.post(EVENT)[0] == 200
        with socket.create_connection((gateway.host, gateway.port), PATIENCE) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(100)


def test_mutual_tls(certificates):
    """Where client certificates are asked for, who has none of ours is not let in."""
    words = options(certificates, "--tls-clients", str(certificates / "ca.pem"))
    with Gateway(*words, context=trusting(certificates, client=True)) as gateway:
        assert gateway.post(EVENT)[0] == 200
        gateway.context = trusting(certificates)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            gateway.get("/healthz")


def test_a_certificate_that_cannot_be_used(certificates):
    """A file that is missing or no certificate is one line and exit code 2."""
    for name in ("nowhere.pem", "ca.key"):
        process = start("--port", "0", "--store", "-", "--tls-certificate", str(certificates / name))
        _, complaints = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert complaints.count("\n") == 1
        assert "gateway.tls_certificate" in complaints


def test_renewed_certificates_are_taken_on_both_ports(certificates, tmp_path):
    """SIGHUP: the gateway and the reverse proxy show the new one; a file that is none changes nothing."""
    def copy(name):
        for kind in ("pem", "key"):
            shutil.copy(certificates / f"{name}.{kind}", tmp_path / f"here.{kind}")

    def shown(port):
        with socket.create_connection(("127.0.0.1", port)) as plain, \
                trusting(certificates).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            return secure.getpeercert()["serialNumber"]

    copy("server")
    words = ("--tls-certificate", str(tmp_path / "here.pem"), "--tls-key", str(tmp_path / "here.key"))
    with Gateway(*words, "--upstream", "http://127.0.0.1:1", "--upstream-port", "0", "--udp", "-",
                 context=trusting(certificates)) as gateway:
        port = int(re.search(r"port (\d+)", gateway.process.stdout.readline())[1])
        before = shown(gateway.port)
        assert shown(port) == before
        copy("renewed")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: shown(gateway.port) != before)
        gateway.until(lambda: shown(port) == shown(gateway.port))
        (tmp_path / "here.pem").write_text("no certificate")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("settings stay as they were" in line for line in gateway.errors))
        assert shown(port) == shown(gateway.port) != before
