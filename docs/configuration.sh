#!/bin/sh
# Prints docs/src/configuration.md: docs/configuration.sh target/release/wisp > docs/src/configuration.md
set -eu
wisp=$1

cat <<'TEXT'
# Configuration

Each setting of `wisp serve` can be given in three ways. If it is given in several, the first of these applies:

1. the argument, such as `--max-body-bytes 1048576`
2. the environment variable, such as `WISP_MAX_BODY_BYTES=1048576`
3. the key in the configuration file, such as `max_body_bytes = 1048576`
4. the default

`WISP_CACHE_DIR`, `WISP_BACKEND`, `WISP_ONNXRUNTIME_LIBRARY` and `WISP_HTTP` also apply to the other commands that have
these arguments.

## The configuration file

The file is in TOML. It is read only if `--config FILE` or `WISP_CONFIG` names it; there is no default file.

```toml
repository = "models"
http = "0.0.0.0:8443"
grpc = "none"

tls_cert = "tls/server.pem"
tls_key = "tls/server.key"
cors_origin = ["https://app.example.com", "https://admin.example.com"]

max_body_bytes = 16_777_216
request_timeout_milliseconds = 5000
```

- Relative paths in the file are relative to the directory of the file. Relative paths in arguments and variables are
  relative to the working directory.
- An array replaces the values of a source with a lower precedence. In a variable, its values are separated by commas.
- Unknown keys and invalid values are errors. Each error names its line and the correct form, and nothing is started.
- No setting is a secret. `tls_key` is the path of a file.

## Check a configuration

```sh,no-run
wisp serve --config wisp.toml --check-config
```

This prints the value and the source of each setting, and starts nothing. It also reads the certificate, and checks that
the repository exists, that the backend is available and that there are enough file descriptors. The exit code is 0 if
the configuration is valid, and 64 otherwise.

```text
repository = "/etc/wisp/models"                   # file /etc/wisp/wisp.toml:1
build = false                                     # default
http = "127.0.0.1:8000"                           # argument --http <ADDR>
grpc = "127.0.0.1:9000"                           # environment WISP_GRPC
# log                                             # default: the value of RUST_LOG, or `info`
```

## Completion in editors

`wisp config schema > wisp.schema.json` writes a JSON schema. An editor with the Taplo language server, such as
VS Code with Even Better TOML, uses it for a file with this first line:

```text
#:schema ./wisp.schema.json
```

## Settings

TEXT
"$wisp" config reference
