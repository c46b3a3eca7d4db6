#!/bin/sh
# Ask the wine model which cultivar a wine was made from: as a matrix, then by the names of the features.
set -eu
url=${WISP_URL:-http://127.0.0.1:8000}/v2/models/wine/infer

curl -sS --fail-with-body "$url" -H 'Content-Type: application/json' --data '{
    "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [2, 13],
        "data": [
            13.5, 1.81, 2.61, 20, 96, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845,
            12.42, 2.55, 2.27, 22, 90, 1.68, 1.84, 0.66, 1.42, 2.7, 0.86, 3.3, 315
        ]
    }]
}'
echo

curl -sS --fail-with-body "$url" -H 'Content-Type: application/json' --data '{
    "inputs": [
        {"name": "alcohol", "datatype": "FP32", "shape": [1], "data": [13.73]},
        {"name": "malic_acid", "datatype": "FP32", "shape": [1], "data": [4.36]},
        {"name": "ash", "datatype": "FP32", "shape": [1], "data": [2.26]},
        {"name": "alcalinity_of_ash", "datatype": "FP32", "shape": [1], "data": [22.5]},
        {"name": "magnesium", "datatype": "FP32", "shape": [1], "data": [88]},
        {"name": "total_phenols", "datatype": "FP32", "shape": [1], "data": [1.28]},
        {"name": "flavanoids", "datatype": "FP32", "shape": [1], "data": [0.47]},
        {"name": "nonflavanoid_phenols", "datatype": "FP32", "shape": [1], "data": [0.52]},
        {"name": "proanthocyanins", "datatype": "FP32", "shape": [1], "data": [1.15]},
        {"name": "color_intensity", "datatype": "FP32", "shape": [1], "data": [6.62]},
        {"name": "hue", "datatype": "FP32", "shape": [1], "data": [0.78]},
        {"name": "od280_od315", "datatype": "FP32", "shape": [1], "data": [1.75]},
        {"name": "proline", "datatype": "FP32", "shape": [1], "data": [520]}
    ],
    "outputs": [{"name": "class"}]
}'
echo
