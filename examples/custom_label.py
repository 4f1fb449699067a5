r"""URLs of one's own choice: a label, a custom domain, and an environment beside `main`.

    $ portico server start
    $ portico deploy examples/custom_label.py
    $ portico app describe custom-label --json | grep -o 'http://[^"]*front-desk[^:]*'
    http://ada--front-desk.localhost

The first part of a host is the workspace: the login name unless `--workspace` or `PORTICO_WORKSPACE` says
otherwise. The label takes the place of `<app>-<function>` behind it.

A custom domain is routed by the `Host` header. Until its DNS record leads to the server, any client can be
told what to send:

    $ curl -H 'Host: desk.example.com' "$(portico server status | sed -n 's/^web functions *//p')"
    "the main desk"

In another environment the same script is another app, with hosts that say so. It reads the environment to
ask for a domain that is not taken:

    $ portico deploy --env staging examples/custom_label.py
    $ portico app describe --env staging custom-label --json | grep -o 'http://[^"]*front-desk[^:]*'
    http://ada-staging--front-desk.localhost
    $ curl "$URL"
    "the staging desk"
    $ curl -H 'Host: staging.desk.example.com' "$(portico server status | sed -n 's/^web functions *//p')"
    "the staging desk"
    $ portico app stop --env staging custom-label
    $ portico app stop custom-label
"""

import os

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("custom-label", image=image)

# Portico sets it where the script is loaded, and in its containers.
environment = os.environ.get("PORTICO_ENVIRONMENT", "main")
domain = "desk.example.com" if environment == "main" else f"{environment}.desk.example.com"


@app.function()
@portico.fastapi_endpoint(label="front-desk", custom_domains=[domain])
def desk() -> str:
    return f"the {environment} desk"
