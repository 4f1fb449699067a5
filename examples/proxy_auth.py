r"""Proxy authentication: the gateway turns strangers away, and no container wakes for them.

    $ portico server start
    $ portico deploy examples/proxy_auth.py
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL"
    401
    $ portico container list --app proxy-auth --json
    []

A proxy token is a key and a secret. It is printed once, as the two headers to send, so that curl can read
them from a file:

    $ (umask 077; portico proxy-token create friends > /tmp/portico-friends.txt)
    $ curl -H @/tmp/portico-friends.txt "$URL"
    {"message":"come in","authorization":null}

Clients that know bearer tokens only send both as one. It stays at the gateway as well, while an
`Authorization` beside the two headers is the app's own:

    $ curl -H "Authorization: Bearer $(sed 's/.*: //' /tmp/portico-friends.txt | paste -sd .)" "$URL"
    {"message":"come in","authorization":null}
    $ curl -H @/tmp/portico-friends.txt -H 'Authorization: Basic YTpi' "$URL"
    {"message":"come in","authorization":"Basic YTpi"}

From the moment a token is revoked it opens nothing:

    $ portico proxy-token revoke "$(sed -n 's/Modal-Key: //p' /tmp/portico-friends.txt)"
    $ curl -s -o /dev/null -w '%{http_code}\n' -H @/tmp/portico-friends.txt "$URL"
    401
    $ rm /tmp/portico-friends.txt
    $ portico app stop proxy-auth
"""

from typing import Annotated

from fastapi import Header

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("proxy-auth", image=image)


@app.function()
@portico.fastapi_endpoint(requires_proxy_auth=True)
def club(authorization: Annotated[str | None, Header()] = None) -> dict[str, str | None]:
    return {"message": "come in", "authorization": authorization}
