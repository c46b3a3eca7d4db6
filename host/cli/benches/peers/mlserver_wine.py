"""The model `wine` on MLServer."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from wine import Wine


class Model(MLModel):
    async def load(self) -> bool:
        self.wine = Wine()
        return True

    async def predict(self, request: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(request.inputs[0]).astype("f4")
        classes, probabilities = self.wine.predict(rows)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("class", classes),
                NumpyCodec.encode_output("probabilities", probabilities),
            ],
        )
