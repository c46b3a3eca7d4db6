#!/usr/bin/env python3
"""Check a file for deployments with the tools of others, and print what it contains as JSON.

    deploy_files.py dockerfile FILE
    deploy_files.py kubernetes FILE
    deploy_files.py yaml FILE

The first prints the instructions of a Dockerfile, the second the resources of a manifest, which must be valid by the
strict schemas of each of RELEASES, and the third the documents of a file without checking them.
"""

import io
import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from dockerfile_parse import DockerfileParser

# The oldest release whose lifecycle hooks can sleep, and the newest one known.
RELEASES = ["1.30", "1.37"]


def dockerfile(text):
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    return [[part["instruction"], part["value"]] for part in parser.structure if part["instruction"] != "COMMENT"]


def kubernetes(text):
    resources = list(yaml.safe_load_all(text))
    for resource in resources:
        for release in RELEASES:
            kubernetes_validate.validate(resource, release, strict=True)
    return resources


def documents(text):
    return list(yaml.safe_load_all(text))


read = {"dockerfile": dockerfile, "kubernetes": kubernetes, "yaml": documents}[sys.argv[1]]
print(json.dumps(read(Path(sys.argv[2]).read_text())))
