"""BentoML with one worker."""

import bentoml


@bentoml.service(
    workers=1,
    traffic={"max_concurrency": 1000},
    logging={"access": {"enabled": False}},
)
class Hello:
    @bentoml.api
    async def hello(self) -> dict[str, str]:
        return {"hello": "world"}
