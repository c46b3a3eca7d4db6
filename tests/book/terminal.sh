# The terminal of a reader, for `terminal.rs`: the commands of a page run as they are written, except that
#
# - `wisp` is the program under test, and so is `cargo run --release --`;
# - `wisp serve` goes to the background, on free ports, until the next one or the end of the page;
# - requests to port 8000 go to the last server, and those to port 8002 to its metrics;
# - `wisp release` goes to the last server too;
# - ONNX Runtime is installed from a wheel that is here already;
# - minisign makes and uses keys without a password, which a reader would type.
#
# Takes from the environment: OUTPUT (a directory), WISP_BINARY, WISP_PYTHON, WISP_WHEEL, and for pages with minisign
# WISP_MINISIGN and WISP_MINISIGN_LIBRARIES.
set -euo pipefail

# The host and port of the last server and of its metrics, and its process.
address=
metrics=
server=

trap 'stop || exit 1' EXIT

wisp() {
    case "$*" in
        serve\ *) serve "${@:2}" ;;
        "backend install onnxruntime") "$WISP_BINARY" "$@" --wheel "$WISP_WHEEL" ;;
        release\ *) WISP_HTTP=$address "$WISP_BINARY" "$@" ;;
        *) "$WISP_BINARY" "$@" ;;
    esac
}

cargo() {
    case "$*" in
        "run --release -- "*) wisp "${@:4}" ;;
        *) command cargo "$@" ;;
    esac
}

curl() {
    local arguments=("${@//127.0.0.1:8000/$address}")
    arguments=("${arguments[@]//localhost:8000/localhost:${address##*:}}")
    arguments=("${arguments[@]//127.0.0.1:8002/$metrics}")
    command curl --fail-with-body --no-progress-meter --max-time 120 "${arguments[@]}"
}

minisign() {
    LD_LIBRARY_PATH=$WISP_MINISIGN_LIBRARIES "$WISP_MINISIGN" "$1" -W "${@:2}"
}

# Runs a Python program from standard input.
python() {
    sed "s/127\.0\.0\.1:8000/$address/g" | "$WISP_PYTHON" -B -
}

# Starts a server, and waits until its banner says how many models are ready.
serve() {
    stop
    local banner line
    exec {banner}< <(WISP_METRICS=127.0.0.1:0 exec "$WISP_BINARY" serve --http 127.0.0.1:0 --grpc 127.0.0.1:0 "$@" 2>>"$OUTPUT/server.log")
    server=$!
    if IFS= read -t 600 -r -u "$banner" line &&
        [[ $line =~ ://([0-9.:]+):\ [1-9][0-9]*\ of\ [0-9]+\ models\ ready.*metrics\ on\ ([0-9.:]+) ]]; then
        address=${BASH_REMATCH[1]}
        metrics=${BASH_REMATCH[2]}
    else
        echo "\`wisp serve $*\` is not ready: ${line-}" >&2
        cat "$OUTPUT/server.log" >&2
        # It has ended, or is too slow.
        stop 2>/dev/null || true
        return 1
    fi
}

# Ends the server, which must succeed.
stop() {
    local process=$server
    server=
    if [[ $process ]]; then
        kill "$process" && wait "$process"
    fi
}
