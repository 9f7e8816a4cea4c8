"""Generated requests against a real gateway, from its own OpenAPI document, by schemathesis: `make fuzz`, or by hand

    python tests/fuzz_routes.py [SECONDS]

No answer may be a 500, and each must be one that the document names, in the form that it names. /events is left out: it
does not end.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.gateways import Gateway

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"


def main(seconds):
    """The exit code of schemathesis."""
    program = Path(sys.executable).parent / "schemathesis"
    with tempfile.TemporaryDirectory() as folder, Gateway(store=Path(folder) / "ztmon.db") as gateway:
        done = subprocess.run([
            program, "run", f"http://127.0.0.1:{gateway.port}/openapi.json", "--checks", CHECKS, "--exclude-path", "/events",
            "--phases", "examples,coverage,fuzzing", "--max-time", str(seconds), "--continue-on-failure", "--warnings", "off",
            "--suppress-health-check", "all", "--request-timeout", "20", "--no-color"], cwd=folder)
        print("\n".join(gateway.errors[-20:]))
        assert gateway.get("/healthz") == (200, {"status": "ok"})
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
