"""docs/howto/django.md: its settings, tasks and views, with a broker and a worker."""

from __future__ import annotations

import re

from django.utils.module_loading import import_string

from taskqueue.contrib.django.framework import PACKAGE
from taskqueue.contrib.django.management.commands.taskqueue_worker import Command
from taskqueue.contrib.django.options import _KNOWN, Treatment
from tests.contrib.django.site import SiteCase
from tests.process.children import ROOT
from tests.test_docs_programs import ADDRESS, DOCS, programs

PAGE = DOCS / "howto" / "django.md"

SETTINGS = f"""
SECRET_KEY = "of no worth"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = "mails"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
INSTALLED_APPS = ["shop"{', "django_tasks"' if PACKAGE == "django_tasks" else ""}]
"""

URLS = """
from django.urls import path
from shop import views
urlpatterns = [
    path("order", views.order), path("count", views.begin_to_count),
    path("remind", views.remind), path("counted/<str:result>", views.counted),
]
"""


class HowToTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        files, _ = programs(PAGE)
        settings = SETTINGS + files["settings.py"]
        self.site = self.folder / "site"
        (self.site / "shop").mkdir(parents=True)
        for name, text in {
            "settings.py": settings,
            "urls.py": URLS,
            "shop/__init__.py": "",
            "shop/tasks.py": files["tasks.py"].replace("django.tasks", PACKAGE),
            "shop/views.py": files["views.py"],
            "schedules.py": files["schedules.py"],
        }.items():
            (self.site / name).write_text(text)
        manage = ROOT / "examples" / "django_site" / "manage.py"
        (self.site / "manage.py").write_text(manage.read_text())

    def begin_broker(self, **variables: str) -> None:
        super().begin_broker(**variables)
        settings = self.site / "settings.py"
        settings.write_text(settings.read_text().replace(ADDRESS, self.address))

    def test_what_a_reader_would_do(self) -> None:
        self.begin_site("--processes", "4")
        answer = self.program_of_the_site("""
            from django.test import Client
            client = Client()
            assert client.post("/order", {"to": "a@example.org"}).status_code == 202
            result = client.post("/count").json()["result"]
            later = client.post("/remind", {"to": "a@example.org"}).json()["result"]
            from shop.tasks import count, send_receipt
            assert send_receipt.get_result(later).status == "READY"
            ended(count.get_result(result))
            late = send_receipt.enqueue("7", to="b@example.org")
            sent = ended(late).return_value
            print(json.dumps([client.get(f"/counted/{result}").json(), sent]))
        """)
        value = {"status": "SUCCESSFUL", "value": {"sum": 499500, "attempt": 1}}
        self.assertEqual(answer, [value, "sent to b@example.org"])
        mails = "".join(path.read_text() for path in (self.site / "mails").iterdir())
        self.assertIn("To: b@example.org", mails)

    def test_again_and_again(self) -> None:
        self.begin_site()
        answer = self.program_of_the_site("""
            import schedules
            from django.conf import settings
            from taskqueue import connect
            from shop.tasks import count
            with connect(settings.TASKS["default"]["OPTIONS"]["address"]) as client:
                fired = client.trigger_periodic("nightly").id
            result = ended(count.get_result(fired))
            print(json.dumps([result.kwargs, result.return_value["sum"]]))
        """)
        self.assertEqual(answer, [{"up_to": 1000}, 499500])

    def test_every_option_is_told_of(self) -> None:
        table = PAGE.read_text().partition("## Options")[2]
        told = set(
            re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
        )
        self.assertEqual(told - {"OPTIONS"}, set(_KNOWN))
        self.assertEqual(len(Treatment._fields), 5)  # "the five before"

    def test_options_of_the_command_that_are_told_of(self) -> None:
        known = Command().create_parser("manage.py", "taskqueue_worker")._option_string_actions
        worker = PAGE.read_text().partition("## The worker")[2].partition("## Results")[0]
        for option in re.findall(r"`(--[\w-]+)`|taskqueue_worker (--\w+)", worker):
            self.assertIn("".join(option), known)

    def test_backends_for_tests(self) -> None:
        tests = PAGE.read_text().partition("## Tests")[2]
        for path in re.findall(r"\bdjango\.tasks\.backends\.\w+\.\w+", tests):
            self.assertTrue(import_string(path.replace("django.tasks", PACKAGE)))
        settings = programs(PAGE)[0]["settings_for_tests.py"].replace("django.tasks", PACKAGE)
        (self.site / "settings_for_tests.py").write_text(settings)
        self.variables = {"DJANGO_SETTINGS_MODULE": "settings_for_tests"}
        answer = self.program_of_the_site("""
            from shop.tasks import count
            print(json.dumps(count.enqueue(up_to=3).return_value))
        """)
        self.assertEqual(answer, {"sum": 3, "attempt": 1})
