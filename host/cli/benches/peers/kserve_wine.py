"""The model `wine` on KServe's server, in its protocols V1 and V2."""

import numpy
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from wine import Wine


class WineModel(Model):
    def __init__(self):
        super().__init__("wine")
        self.load()

    def load(self):
        self.wine = Wine()
        self.ready = True
        return True

    async def predict(self, payload, headers=None, response_headers=None):
        if not isinstance(payload, InferRequest):
            rows = numpy.asarray(payload["instances"], "f4")
            classes, probabilities = self.wine.predict(rows)
            named = zip(classes, probabilities.tolist())
            return {"predictions": [{"class": c, "probabilities": p} for c, p in named]}
        classes, probabilities = self.wine.predict(payload.inputs[0].as_numpy())
        binary = payload.from_grpc or payload.use_binary_outputs
        labels = InferOutput("class", [len(classes)], "BYTES")
        labels.set_data_from_numpy(numpy.array(classes, object), binary_data=binary)
        scores = InferOutput("probabilities", list(probabilities.shape), "FP32")
        scores.set_data_from_numpy(probabilities, binary_data=binary)
        return InferResponse(payload.id or "1", self.name, [labels, scores])


if __name__ == "__main__":
    ModelServer(workers=1).start([WineModel()])
