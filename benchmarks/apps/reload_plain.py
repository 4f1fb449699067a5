"""The same for ``uvicorn --reload``."""

from fastapi import FastAPI

VERSION = 0

app = FastAPI()


@app.get("/")
def version() -> int:
    return VERSION
