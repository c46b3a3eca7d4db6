#!/bin/sh
# Ask the digits model what is on a picture: one image as the whole body, then pixels as JSON.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
url=${WISP_URL:-http://127.0.0.1:8000}/v2/models/digits/infer

# A header length of 0 says that the body is the model's only required input, with no JSON before it.
curl -sS --fail-with-body "$url" \
    -H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json' \
    --data-binary @"$here/samples/7.png"
echo

# A 4 as 8x8 grey levels, and only its best label.
curl -sS --fail-with-body "$url" -H 'Content-Type: application/json' --data '{
    "inputs": [{
        "name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8],
        "data": [
            255, 255, 255, 191, 112, 255, 255, 255,
            255, 255, 255,  64,  80, 255, 255, 255,
            255, 255, 191,  48,   0, 191, 255, 255,
            255, 255,  64, 159,  32, 191, 255, 255,
            255, 191,   0, 112,  16,  48, 207, 255,
            255, 191,  64,  64,   0,  32, 159, 255,
            255, 255, 255, 255,   0, 191, 255, 255,
            255, 255, 255, 223,   0, 207, 255, 255
        ]
    }],
    "parameters": {"top_k": 1}
}'
echo
