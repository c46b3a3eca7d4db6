#!/bin/sh
# Embed two sentences that say nearly the same; then one as the whole body, without any JSON around it.
set -eu
url=${WISP_URL:-http://127.0.0.1:8000}/v2/models/embed/infer

curl -sS --fail-with-body "$url" -H 'Content-Type: application/json' --data '{
    "inputs": [{
        "name": "text", "datatype": "BYTES", "shape": [2],
        "data": ["A man is eating food.", "Someone is having a meal."]
    }]
}'
echo

# A header length of 0 says that the body is the one input.
curl -sS --fail-with-body "$url" \
    -H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json' \
    --data-binary 'A man is eating food.'
echo
