"""Intel's clients of TensorFlow Serving's protocol, over HTTP and gRPC."""

import numpy as np
import ovmsclient
from cells import BINARY, JSON, Client
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.types_pb2 import DataType


class Ovms(Client):
    CHOOSES = False
    # It has no word on codings, so its requests are plain; its transport inflates answers.
    COMPRESSES = ("answers",)

    def connect(self):
        raise NotImplementedError

    def tensor(self, array, form):
        # Of bytes it knows numpy's own kind only.
        return np.array(list(array), np.bytes_) if array.dtype == np.object_ else array

    def infer(self, model, inputs, outputs, *, form=None, version=0, gzip=False, timeout=60):
        tensors = {name: self.tensor(array, form) for name, array in inputs.items()}
        answer = self.connect().predict(tensors, model, version, timeout)
        return answer if isinstance(answer, dict) else {outputs[0]: answer}

    def failure(self, error):
        return {ModelNotFoundError: "not found", InvalidInputError: "invalid"}[type(error)], str(error)

    def gave_up(self, error):
        return isinstance(error, TimeoutError)


class Rest(Ovms):
    TYPED = False

    def connect(self):
        return ovmsclient.make_http_client(self.address)

    def tensor(self, array, form):
        assert form != BINARY
        return super().tensor(array, form)


class Grpc(Ovms):
    GRPC = True

    def connect(self):
        return ovmsclient.make_grpc_client(self.address)

    def tensor(self, array, form):
        if form != JSON:
            return super().tensor(array, form)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
        return TensorProto(dtype=DataType.DT_FLOAT, tensor_shape=shape, float_val=array.ravel())
