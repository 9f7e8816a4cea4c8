"""The programs of docs/clients.md do what the page says, in every language whose runtime is here."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from .conftest import missing
from .gateways import Gateway, ztmon
from .pages import blocks
from .servers import until

RUNTIMES = {
    "client.sh": ("sh", "client.sh"), "client.py": (sys.executable, "client.py"), "client.mjs": ("node", "client.mjs"),
    "client.go": ("go", "run", "client.go"), "Client.java": ("java", "Client.java"), "client.rb": ("ruby", "client.rb"),
}  # fmt: skip
EVERYWHERE = ("client.sh", "client.py", "client.mjs")
PARTNERS = {"client.sh": "curl", "client.py": "python", "client.mjs": "node", "client.go": "go", "Client.java": "java",
            "client.rb": "ruby"}  # fmt: skip


def program(name):
    (text,) = [block.text for block in blocks("docs/clients.md") if block.title == name]
    return text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One that wants a token, and the token."""
    store = tmp_path_factory.mktemp("store") / "z.db"
    token = ztmon("token", "add", "guides", "--role", "telemetry", "--role", "read", "--store", str(store)).split()[-1]
    made = Gateway("--udp", "-", store=store, token=token)
    yield made, token
    made.stop()


def test_the_page_has_them_all():
    """Each program of the page is run below."""
    assert {block.title for block in blocks("docs/clients.md") if block.title} == set(RUNTIMES)


@pytest.mark.parametrize("name", RUNTIMES)
def test_guide(gateway, tmp_path, name):
    """The program sends its three events, and ends."""
    running, token = gateway
    runtime = RUNTIMES[name][0]
    if shutil.which(runtime) is None:
        if name in EVERYWHERE:
            missing(f"no {runtime}")
        pytest.skip(f"no {runtime} on this machine")
    (tmp_path / name).write_text(program(name), encoding="utf-8")
    env = os.environ | {"ZTMON_URL": f"http://127.0.0.1:{running.port}", "ZTMON_TOKEN": token, "HOME": str(tmp_path),
                        "GOCACHE": str(tmp_path / "go"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    env.pop("LD_PRELOAD", None)
    done = subprocess.run(RUNTIMES[name], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr

    def known():
        status, _, body = running.ask("GET", f"/partners/acme-{PARTNERS[name]}?app=shop")
        return status == 200 and json.loads(body)["events"] == 3

    until(known, "three events: " + done.stdout + done.stderr)
