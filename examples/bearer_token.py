r"""Bearer-token authentication, the token kept in a secret, as a deployed app.

A secret is kept by a server, so this example starts one; `KEY=-` reads the value from standard input and
keeps it out of the shell's history:

    $ portico server start
    $ echo correct-horse | portico secret create door AUTH_TOKEN=-
    $ portico deploy examples/bearer_token.py
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL"
    401
    $ curl -s -o /dev/null -w '%{http_code}\n' -H 'Authorization: Bearer battery' "$URL"
    401
    $ curl -H 'Authorization: Bearer correct-horse' "$URL"
    "come in"
    $ portico secret list
    $ portico app stop bearer-token

`hmac.compare_digest` takes the same time for every wrong token, so that answers tell nothing about the right one.
"""

import hmac
import os
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("bearer-token", image=image)

Token = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


@app.function(secrets=[portico.Secret.from_name("door", required_keys=["AUTH_TOKEN"])])
@portico.fastapi_endpoint()
def door(token: Token) -> str:
    wanted = os.environ["AUTH_TOKEN"]
    if not hmac.compare_digest(token.credentials.encode(), wanted.encode()):
        raise HTTPException(401, "wrong token", headers={"WWW-Authenticate": "Bearer"})
    return "come in"
