#!/bin/sh
# Prints docs/src/cli.md from the help of a `wisp` program: docs/cli.sh target/release/wisp > docs/src/cli.md
set -eu
wisp=$1

help() { # a subcommand's words, none for the program itself
    echo '```text'
    COLUMNS=100 "$wisp" "$@" --help | sed -e "s/^Usage: $(basename "$wisp")/Usage: wisp/" -e 's/[[:space:]]*$//'
    echo '```'
}

cat <<'TEXT'
# Command line

This page is the output of `--help`. `wisp <command> -h` prints a summary of it.

## Exit codes

| code | meaning |
|---|---|
| 0 | success |
| 1 | a failure; for `wisp check`, a difference |
| 64 | a bad argument or configuration; nothing was started |

## wisp

TEXT
help
for command in serve new build check infer inspect bench baseline bundle push pull backend 'backend list' 'backend install' \
    'backend uninstall' health tenant 'tenant add' 'tenant list' 'tenant rotate' 'tenant revoke' 'tenant set' 'tenant subject add' 'tenant subject remove' \
    'tenant signing-key add' 'tenant signing-key remove' 'tenant require-signature' 'tenant remove' release 'release start' 'release status' 'release promote' 'release abort' \
    'release close' config 'config schema' 'config reference'; do
    printf '\n## wisp %s\n\n' "$command"
    # The words of a command are words of their own.
    # shellcheck disable=SC2086
    help $command
done
