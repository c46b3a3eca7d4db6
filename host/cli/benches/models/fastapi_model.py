"""A graph on FastAPI and onnxruntime: `/bytes` takes and gives arrays as they are, `/lists` numbers in JSON."""

import graph
import numpy
from fastapi import FastAPI, Request, Response
from pydantic import create_model

# Fixed element types, so that pydantic validates and writes lists in its compiled part.
Inputs = create_model(
    "Inputs",
    **{name: (list[float] if dtype.kind == "f" else list[int], ...) for name, dtype, _ in graph.INPUTS},
)
Outputs = create_model(
    "Outputs",
    **{name: (list[float] if kind == "tensor(float)" else list[int], ...) for name, kind in graph.OUTPUTS},
)
app = FastAPI()


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.post("/bytes")
async def infer_bytes(request: Request):
    outputs = graph.session.run(None, graph.from_bytes(await request.body()))
    return Response(b"".join(output.tobytes() for output in outputs), media_type="application/octet-stream")


@app.post("/lists", response_model=Outputs)
async def infer_lists(request: Inputs):
    inputs = {
        name: numpy.asarray(getattr(request, name), dtype).reshape(-1, *row) for name, dtype, row in graph.INPUTS
    }
    outputs = graph.session.run(None, inputs)
    return Outputs(**{name: output.ravel().tolist() for (name, _), output in zip(graph.OUTPUTS, outputs)})
