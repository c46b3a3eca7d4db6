"""A graph on MLServer and onnxruntime."""

import graph
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, request: InferenceRequest) -> InferenceResponse:
        dtypes = {name: dtype for name, dtype, _ in graph.INPUTS}
        # Its codec makes FP32 of JSON to doubles.
        inputs = {one.name: NumpyCodec.decode_input(one).astype(dtypes[one.name], copy=False) for one in request.inputs}
        outputs = graph.session.run(None, inputs)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name, output) for (name, _), output in zip(graph.OUTPUTS, outputs)],
        )
