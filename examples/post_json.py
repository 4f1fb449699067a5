r"""A POST endpoint that takes a JSON object.

    $ portico serve examples/post_json.py
    $ curl --json '{"numbers": [3, 4, 5]}' "$URL"
    {"count":3,"sum":12}
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL"
    405

A request that is not a POST is answered with 405, Method Not Allowed.
"""

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("post-json", image=image)


@app.function()
@portico.fastapi_endpoint(method="POST")
def total(item: dict[str, list[int]]) -> dict[str, int]:
    numbers = item["numbers"]
    return {"count": len(numbers), "sum": sum(numbers)}
