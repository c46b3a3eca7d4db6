"""Checks the JSON schema of the configuration file or of model.toml with the validator that Python programs use.

`configuration_schema.py SCHEMA PAGE` checks the schema itself, that the first example on the page is valid, and
that wrong types, unknown keys and zeros are not.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

INVALID_MODELS = [
    {"max_batchsize": 1},
    {"max_batch_size": -1},
    {"versions": "newest"},
    {"versions": {"latest": 0}},
    {"versions": []},
    {"labels": {"stable": "1"}},
    {"device": "tpu"},
    {"threads": 0},
    {"batching": "on"},
    {"batching": {"max_batch_size": 0}},
    {"batching": {"max_queue_delay": 100}},
    {"batching": {"priority_queue_policy": {"2": {"timeout_action": "drop"}}}},
    {"inputs": {"x": {"shape": [-2]}}},
    {"outputs": {"y": {"label": "labels.txt"}}},
    {"handler": {"sources": "handler"}},
    {"limits": {"memory_bytes": -1}},
]

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
    example, *_ = re.findall(r"```toml\n(.*?)```", Path(page).read_text(), re.DOTALL)
    validator.validate(tomllib.loads(example))
    for configuration in INVALID_MODELS if "model.toml" in schema["title"] else INVALID:
        assert not validator.is_valid(configuration), configuration


main(*sys.argv[1:])
