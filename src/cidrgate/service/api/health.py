"""`/healthz`, `/readyz` and `/metrics`: for the systems that operate the service."""

import math

from fastapi import APIRouter, Request, Response
from pydantic import Field

from cidrgate.service.api.openapi import answers
from cidrgate.service.api.schemas import ResponseModel, open_enum
from cidrgate.service.auth.access import MetricsReader
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.values import seconds

__all__ = [
    "HealthModel",
    "METRICS",
    "PUBLIC",
    "ReadinessModel",
    "is_public",
    "router",
]

PUBLIC = frozenset({"/healthz", "/readyz", "/problems"})
"""Paths, with what is below them, that need no token and are open to every address."""

METRICS = "/metrics"
"""The path of the metrics. It needs a token, and is open to every host: Prometheus asks by the name of a machine."""


def is_public(path: str) -> bool:
    """Return whether a path needs no token and is open to every address."""
    return path in PUBLIC or any(path.startswith(f"{one}/") for one in PUBLIC)


_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["operation"], route_class=StrictRoute)


class HealthModel(ResponseModel):
    """The process responds."""

    status: str = Field(description="`ok`.", json_schema_extra=open_enum(["ok"]))


class ReadinessModel(ResponseModel):
    """Whether the service is ready for requests."""

    status: str = Field(
        description="`ready`, or `stale` if the lists are too old or the store cannot be read.",
        json_schema_extra=open_enum(["ready", "stale"]),
    )
    staleness: float | None = Field(description="Seconds since the matcher was last known to equal the store.")


@router.get("/healthz", response_model=HealthModel, responses=answers(public=True))
async def get_health() -> Response:
    """Tell whether the process responds."""
    return Answer({"status": "ok"}).response()


@router.get(
    "/readyz",
    response_model=ReadinessModel,
    responses={
        503: {"model": ReadinessModel, "description": "The lists are too old, or the store cannot be read."},
        **answers(public=True),
    },
)
async def get_readiness(request: Request) -> Response:
    """Tell whether the lists are up to date and the store can be read."""
    service = service_of(request)
    staleness = service.manager.staleness
    ready = staleness <= seconds(service.settings.ready_within, "ready_within") and await service.probe.answers()
    known = round(staleness, 3) if math.isfinite(staleness) else None
    return Answer({"status": "ready" if ready else "stale", "staleness": known}, 200 if ready else 503).response()


@router.get(
    METRICS,
    response_class=Response,
    responses={200: {"content": {_PROMETHEUS: {"schema": {"type": "string"}}}}, **answers()},
)
def get_metrics(request: Request, _principal: MetricsReader) -> Response:
    """Return metrics for Prometheus. The scope `metrics` is sufficient."""
    return Response(service_of(request).metrics.text(), media_type=_PROMETHEUS)
