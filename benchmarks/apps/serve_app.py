"""What a newcomer serves first."""

from recipe import image

import portico

app = portico.App("bench-serve", image=image)


@app.function(allow_concurrent_inputs=1000)
@portico.fastapi_endpoint()
def hello() -> dict[str, str]:
    return {"hello": "world"}
