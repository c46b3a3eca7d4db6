"""Predictions from one row of features: the lecture notes' API on FastAPI and onnxruntime."""

import numpy
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from wine import Wine

wine = Wine()
app = FastAPI()


class Features(BaseModel):
    features: list[float]


class Prediction(BaseModel):
    prediction: str
    probabilities: list[float]
    model_version: str


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.post("/predict", response_model=Prediction)
async def predict(request: Features):
    try:
        rows = numpy.asarray(request.features, "f4").reshape(1, 13)
        classes, probabilities = wine.predict(rows)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Prediction(
        prediction=classes[0], probabilities=probabilities[0].tolist(), model_version="1"
    )
