"""Pull and push artifacts with oras, as somebody without Wisp would.

    python oras_registry.py pull REFERENCE DIRECTORY
    python oras_registry.py push REFERENCE COMPONENT CONFIGURATION

`pull` writes the files of an artifact below a directory and prints its type. `push` makes the standard artifact of a
component.
"""

import os
import sys

import oras.client

WASM = "application/wasm"
WASM_CONFIGURATION = "application/vnd.wasm.config.v0+json"


def pull(client, reference, directory):
    client.pull(target=reference, outdir=directory)
    manifest = client.get_manifest(reference)
    print(manifest.get("artifactType", manifest["config"]["mediaType"]))


def push(client, reference, component, configuration):
    # Titles are the paths as they are given.
    os.chdir(os.path.dirname(component))
    client.push(
        target=reference,
        files=[f"{os.path.basename(component)}:{WASM}"],
        manifest_config=f"{configuration}:{WASM_CONFIGURATION}",
    )


def main():
    command, *arguments = sys.argv[1:]
    client = oras.client.OrasClient(insecure=True)
    {"pull": pull, "push": push}[command](client, *arguments)


main()
