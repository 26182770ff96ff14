"""The baseline gateway, as the documentation of FastAPI and httpx shows it.

It has one pydantic model and one shared client, and makes one call for each request.
"""

import os
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel


class Flight(BaseModel):
    carrier: str
    origin: str
    destination: str
    distance: float
    departure_hour: float
    arrival_hour: float
    weekday: int
    temperature: float | None = None
    humidity: float | None = None
    wind_speed: float | None = None
    precipitation: float | None = None
    pressure: float | None = None
    visibility: float | None = None


class PredictRequest(BaseModel):
    instances: list[Flight]


class Prediction(BaseModel):
    probability: float


class PredictResponse(BaseModel):
    predictions: list[Prediction]


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with httpx.AsyncClient(base_url=os.environ["BASELINE_SERVER"], timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
bearer = HTTPBearer()


def check_key(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
    if credentials.credentials != os.environ["BASELINE_KEY"]:
        raise HTTPException(401)


@app.post("/v1/models/flight-delay:predict", dependencies=[Depends(check_key)])
async def predict(request: PredictRequest) -> PredictResponse:
    response = await app.state.client.post(
        "/predict", json={"rows": [flight.model_dump() for flight in request.instances]}
    )
    response.raise_for_status()
    return PredictResponse(
        predictions=[Prediction(probability=probability) for probability in response.json()]
    )


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ready"}
