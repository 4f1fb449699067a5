"""LitServe with one worker and one API server: ``python lit.py PORT``."""

import sys
from typing import Any

import litserve


class Hello(litserve.LitAPI):
    def setup(self, device: str) -> None: ...

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # a type is read as that of a query parameter
        return request

    def predict(self, request: Any) -> dict[str, str]:
        return {"hello": "world"}

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Hello(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
