"""A FastAPI service whose requests compute in Axion's workers."""

from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

import axion


def primes_below(limit):
    """Takes a while, and would block the event loop."""
    sieve = bytearray([1]) * max(limit, 2)
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number::number] = bytes(len(range(number * number, limit, number)))
    return sum(sieve)


@asynccontextmanager
async def lifespan(app: FastAPI):
    # In the process that serves: after uvicorn or gunicorn has forked.
    with axion.Engine(cpu_bound_count=1, io_bound_count=0, input_queue_size=100) as engine:
        app.state.engine = engine
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/primes/{limit}")
async def primes(limit: int, request: Request):
    engine: axion.Engine = request.app.state.engine
    try:
        # With wait=False, a full queue refuses the request instead of letting it wait.
        return {"primes": await engine.options(timeout=20, wait=False).run(primes_below, limit)}
    except axion.TaskTimeout:
        raise HTTPException(504, "this takes too long")
    except axion.SubmitError as error:
        raise HTTPException(503, error.code)
    except axion.RemoteError as error:
        raise HTTPException(500, error.code)


@app.get("/health")
async def health(request: Request):
    report = request.app.state.engine.get_health()
    return {"health": report.overall_health.value}
