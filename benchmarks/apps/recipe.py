"""The one image of every benchmark."""

import portico

image = portico.Image.debian_slim().pip_install(
    "fastapi", "uvicorn", "uvloop", "httptools", "watchfiles", "websockets"
)
