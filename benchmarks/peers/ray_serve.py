"""Ray Serve with one replica: ``python ray_serve.py FOLDER PORT``."""

import contextlib
import signal
import sys
from typing import Any

import ray
from ray import serve

QUIET = {"enable_access_log": False, "log_level": "WARNING"}
STORE = 100 << 20  # bytes


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, logging_config=QUIET)
class Hello:
    async def __call__(self, request: Any) -> dict[str, str]:
        return {"hello": "world"}


def main(folder: str, port: str) -> None:
    ray.init(
        num_cpus=2,
        object_store_memory=STORE,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
    )
    http = {"host": "127.0.0.1", "port": int(port)}
    with contextlib.suppress(KeyboardInterrupt):
        serve.start(http_options=http, logging_config=QUIET)
        serve.run(Hello.bind())
        signal.pause()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
