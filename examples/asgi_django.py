"""Django with ASGI: asynchronous views in one file.

    $ portico serve examples/asgi_django.py
    $ curl "$URL/stars/7/"
    {"number": 7, "name": "star 7"}
    $ curl -sL "$URL/stars/8"
    {"number": 8, "name": "star 8"}

A project of several files works the same way: `get_asgi_application()` is what the function returns. The second
request shows Django's own redirect to the address with a slash.
"""

from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("django>=5,<7")
app = portico.App("asgi-django", image=image)


@app.function(allow_concurrent_inputs=100)
@portico.asgi_app()
def web() -> Any:
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import JsonResponse
    from django.urls import path

    async def star(request: Any, number: int) -> JsonResponse:
        return JsonResponse({"number": number, "name": f"star {number}"})

    settings.configure(
        ALLOWED_HOSTS=["*"],  # the gateway lets only the function's own hosts through
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("stars/<int:number>/", star)]}),
        SECRET_KEY="not used here",
    )
    django.setup()
    return get_asgi_application()
