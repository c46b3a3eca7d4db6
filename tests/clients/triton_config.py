#!/usr/bin/env python3
"""Compare the configuration of a served model with its `config.pbtxt`, as protobuf's own reader understands it.

    triton_config.py ADDRESS MODEL FILE
"""

import sys
from pathlib import Path

import tritonclient.grpc as triton
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2


def tensors(declared):
    return {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in declared}


def main(address, model, file):
    expected = text_format.Parse(Path(file).read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    served = triton.InferenceServerClient(address).get_model_config(model).config
    for read in (
        lambda config: config.name,
        lambda config: config.max_batch_size,
        lambda config: tensors(config.input),
        lambda config: tensors(config.output),
        lambda config: {output.name: output.label_filename for output in config.output},
        lambda config: sum(group.count for group in config.instance_group),
        lambda config: config.version_policy,
        lambda config: config.parameters["author"].string_value,
        lambda config: config.dynamic_batching,
        lambda config: config.response_cache,
    ):
        assert read(served) == read(expected), (read(served), read(expected))


if __name__ == "__main__":
    main(*sys.argv[1:])
