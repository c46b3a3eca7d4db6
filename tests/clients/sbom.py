"""Validates a bill of materials with the library of CycloneDX: `sbom.py FILE`. Prints the number of its components."""

import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"it is no bill of materials: {error!r}")
    bom = Bom.from_json(json.loads(text))
    # Every reference of a dependency is that of a component.
    bom.validate()
    print(len(bom.components))


if __name__ == "__main__":
    main()
