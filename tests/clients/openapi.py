"""Holds a server to the OpenAPI document that it gives of itself.

`openapi.py validate ADDRESS` asks openapi-spec-validator whether it is an OpenAPI 3.1 document at all.
`openapi.py conform ADDRESS EXAMPLES` lets schemathesis make requests of it, as many for each operation at
random as EXAMPLES says besides those at the edges of its schemas, and compares every answer with the
document. The same server gets the same requests each time.

With the API key of a tenant as one more argument, the requests are those of the tenant. schemathesis then also finds every
operation that requires a key according to the document, and succeeds without one or with a wrong one.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

# These would end the models that the other operations are asked about.
CONTROL = "^/v2/repository/models/"

# What is inferred by a version's number has the schemas of what is inferred without it.
BY_NUMBER = "^/(v[12]/models|predict|batch_predict)/[^{]+/versions/"


def headers_with(key):
    """Returns the headers of a request with this key, or with none."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def validate(address, key=None):
    url = f"http://{address}/openapi.json"
    request = urllib.request.Request(url, headers=headers_with(key))
    with urllib.request.urlopen(request) as response:
        document = json.load(response)
    OpenAPIV31SpecValidator(document).validate()


def conform(address, examples, key=None):
    here = Path(__file__).resolve().parent
    arguments = [
        *["--config-file", here / "schemathesis.toml"],
        *["run", f"http://{address}/openapi.json"],
        *["--exclude-path-regex", f"{CONTROL}|{BY_NUMBER}"],
        *["--phases", "examples,coverage,fuzzing"],
        *["--max-examples", examples],
        *["--seed", "1", "--generation-deterministic"],
        *["--continue-on-failure", "--warnings", "off", "--no-color"],
    ]
    for name, value in headers_with(key).items():
        arguments += ["--header", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as directory:
        # It leaves caches where it runs, and Python would leave some beside the hook.
        environment = os.environ | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "SCHEMATHESIS_HOOKS": str(here / "bare_words.py"),
        }
        program = Path(sys.executable).with_name("st")
        ended = subprocess.run([program, *arguments], cwd=directory, env=environment, check=False)
    sys.exit(ended.returncode)


if __name__ == "__main__":
    {"validate": validate, "conform": conform}[sys.argv[1]](*sys.argv[2:])
