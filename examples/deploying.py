"""Deploying: an app that stays, is replaced without a failed request, and can be rolled back.

    $ portico server start
    $ portico deploy examples/deploying.py
    $ curl "$URL"
    {"release":"first"}
    $ RELEASE=second portico deploy examples/deploying.py
    $ curl "$URL"
    {"release":"second"}
    $ portico app rollback deploying
    $ curl "$URL"
    {"release":"first"}
    $ portico app stop deploying

The URL stays the same all along. `portico app history deploying` lists the versions.
"""

import os

import portico

# Read where the app is deployed, and set in its containers: the secret travels with the version.
release = portico.Secret.from_dict({"RELEASE": os.environ.get("RELEASE", "first")})
image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("deploying", image=image, secrets=[release])


@app.function()
@portico.fastapi_endpoint()
def version() -> dict[str, str]:
    return {"release": os.environ["RELEASE"]}
