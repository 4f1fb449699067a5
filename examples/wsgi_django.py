r"""Django with a database and a form, in one file.

    $ portico serve examples/wsgi_django.py
    $ curl -s -c /tmp/portico-jar.txt "$URL/" | grep -c csrfmiddlewaretoken
    1
    $ curl -s -o /dev/null -w '%{http_code}\n' -d word=tide "$URL/"
    403
    $ curl -s -b /tmp/portico-jar.txt -H "X-CSRFToken: $(awk '/csrftoken/ {print $7}' /tmp/portico-jar.txt)" -d word=tide "$URL/"
    tide is word 1

Each container has a folder of its own, and its database goes with it. For data that stays, use a database that
containers share, and take its address from a secret.
"""

from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("django>=5,<7")
app = portico.App("wsgi-django", image=image)

FORM = '<form method="post">{% csrf_token %}<input name="word"></form>'


@app.function(allow_concurrent_inputs=8, max_containers=1)
@portico.wsgi_app()
def site() -> Any:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.db import connection
    from django.http import HttpResponse
    from django.template import engines
    from django.urls import path

    def words(request: Any) -> HttpResponse:
        if request.method == "GET":
            return HttpResponse(engines["django"].from_string(FORM).render({}, request))
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS words (word TEXT)")
            cursor.execute("INSERT INTO words VALUES (%s)", [request.POST["word"]])
            (count,) = cursor.execute("SELECT count(*) FROM words").fetchone()
        return HttpResponse(f"{request.POST['word']} is word {count}\n")

    settings.configure(
        ALLOWED_HOSTS=["*"],  # the gateway lets only the function's own hosts through
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "words.sqlite3"}},
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("", words)]}),
        SECRET_KEY="take me from a secret",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    )
    django.setup()
    return get_wsgi_application()
