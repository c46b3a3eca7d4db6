#!/bin/sh
# Ask for the expected progression of two patients; the second is far outside what the model knows, and corrected.
set -eu
url=${WISP_URL:-http://127.0.0.1:8000}/v2/models/progression/infer

# age, sex, bmi, bp, s1 to s6
curl -sS --fail-with-body "$url" -H 'Content-Type: application/json' --data '{
    "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [2, 10],
        "data": [
            54, 2, 36.1, 115, 163, 98.4, 43, 4,   4.6821, 101,
            68, 1, 62.5, 165, 180, 90,   25, 7.5, 6.6,    190
        ]
    }]
}'
echo
