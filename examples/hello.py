"""The smallest web function: one decorator, one URL.

    $ portico serve examples/hello.py

prints the function's URLs. With the second of them, which any client can reach, as URL:

    $ curl "$URL"
    {"greeting":"Hello, world!"}
    $ curl "$URL?name=Ada"
    {"greeting":"Hello, Ada!"}

Change the greeting and save: the next request has it, at the same URL.
"""

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("hello", image=image)


@app.function()
@portico.fastapi_endpoint()
def hello(name: str = "world") -> dict[str, str]:
    return {"greeting": f"Hello, {name}!"}
