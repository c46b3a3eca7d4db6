#!/usr/bin/env python3
"""Writes the bill of materials of `wisp` as CycloneDX JSON: `python3 .ci/sbom.py > wisp.cdx.json`.

It contains the crates that are linked into the program for x86-64 Linux or run while it is compiled (scope
`excluded`), from Cargo.lock, and the libraries in other languages, which Cargo does not know. Those that are opened at
run time, if an operator installs them, have the scope `optional`. The same sources have the same output.

It needs Python and Cargo, and no packages.
"""

import json
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "wisp"
TARGET = "x86_64-unknown-linux-gnu"

# The libraries in other languages, within the crate that has their sources: name, version, license, crate. A version of
# `None` is the part of the crate's version after `+`.
LINKED = [
    ("jemalloc", None, "BSD-2-Clause", "tikv-jemalloc-sys"),
    ("zstd", None, "BSD-3-Clause", "zstd-sys"),
    ("BoringSSL (parts)", "unversioned", "Apache-2.0 AND ISC", "ring"),
    ("swagger-ui", None, "Apache-2.0", "utoipa-swagger-ui-vendored"),
]

# The libraries that are opened at run time: name, license, the file that has the versions that are installed or needed.
OPENED = [
    ("onnxruntime", "MIT", "host/cli/src/backend/catalog/onnxruntime.rs"),
    ("CUDA Toolkit", "LicenseRef-NVIDIA-CUDA-EULA", "host/cli/src/backend/catalog/cuda.rs"),
]


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    # The manifest of the program, so that its default features are those of a release.
    command += ["--manifest-path", str(ROOT / "host/cli/Cargo.toml")]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def reached(nodes, packages, start):
    """The packages that the program needs, in order of their ids: those that it links, and those that only build it."""
    linked, building = set(), set()
    waiting = [(start, False)]
    while waiting:
        package, builds = waiting.pop()
        found = building if builds else linked
        if package in found:
            continue
        found.add(package)
        for dependency in nodes[package]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if not kinds & {None, "build"}:
                continue
            is_macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            waiting.append((dependency["pkg"], builds or is_macro or None not in kinds))
    return sorted(linked), sorted(building - linked)


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(license):
    # Before 2020, a slash stood for `OR`.
    return license.replace(" / ", " OR ").replace("/", " OR ")


def crate(package, checksum, scope):
    component = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
    }
    if package["license"]:
        component["licenses"] = [{"expression": expression(package["license"])}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        component["purl"] = reference(package)
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def native(name, version, license, scope, note):
    return {
        "type": "library",
        "bom-ref": f"native:{name}",
        "name": name,
        **({"version": version} if version else {}),
        "scope": scope,
        "licenses": [{"expression": license}],
        "description": note,
    }


def linked_libraries(crates):
    for name, version, license, of_crate in LINKED:
        package = crates.get(of_crate)
        if package is None:
            sys.exit(f"{of_crate} is no longer a dependency: remove {name} from LINKED")
        if version is None:
            version = package["version"].partition("+")[2].removeprefix("zstd.") or package["version"]
        yield reference(package), native(name, version, license, "required", f"sources in the crate {of_crate}")


def main():
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    program = next(package for package in packages.values() if package["name"] == PROGRAM)
    linked, building = reached(nodes, packages, program["id"])
    sums = checksums()
    components, dependencies, crates = [], {}, {}
    for ids, scope in ((linked, "required"), (building, "excluded")):
        for package in (packages[id] for id in ids):
            crates[package["name"]] = package
            if package["id"] != program["id"]:
                components.append(crate(package, sums[package["name"], package["version"]], scope))
    included = set(linked) | set(building)
    for id in sorted(included):
        needed = {reference(packages[other]) for other in nodes[id]["dependencies"] if other in included}
        dependencies.setdefault(reference(packages[id]), set()).update(needed)
    for of_crate, library in linked_libraries(crates):
        components.append(library)
        dependencies[of_crate].add(library["bom-ref"])
        dependencies[library["bom-ref"]] = set()
    for name, license, path in OPENED:
        if not (ROOT / path).is_file():
            sys.exit(f"{path} does not exist: correct OPENED")
        components.append(native(name, "", license, "optional", f"opened at run time; versions in {path}"))
    root = crate(program, None, "required") | {"type": "application"}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(needed)} for ref, needed in sorted(dependencies.items())
        ],
    }
    # A name of the content, so that equal documents have equal numbers.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    json.dump(document, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
