"""Checks the JSON schema of the configuration file with the validator that Python programs use.

`configuration_schema.py SCHEMA PAGE` checks the schema itself, that the example on the page is valid, and that
wrong types, unknown keys and zeros are not.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

INVALID = [
    {"max_bodi_bytes": 1},
    {"max_body_bytes": "64M"},
    {"max_body_bytes": 0},
    {"cors_origin": "https://app.example.com"},
    {"model_control_mode": "all"},
    {"tls_cert": ""},
    {"build": "yes"},
]


def main(schema, page):
    schema = json.loads(Path(schema).read_text())
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    (example,) = re.findall(r"```toml\n(.*?)```", Path(page).read_text(), re.DOTALL)
    validator.validate(tomllib.loads(example))
    for configuration in INVALID:
        assert not validator.is_valid(configuration), configuration


main(*sys.argv[1:])
