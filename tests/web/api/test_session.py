"""
Who asks over HTTP: keys, signing in, and what ends it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, succeed

from taskqueue.access.keyring import CertificateEntry, Keyring, UserEntry
from taskqueue.access.passwords import hash_password
from taskqueue.config import HttpConfig
from taskqueue.transport.naming import PeerCertificate
from taskqueue.web import credentials
from tests.operations.keys import MADE_AT, Keys
from tests.web.api.asking import NOTHING, TURNS, ApiTestCase
from tests.web.visitor import Answer, Visit, read_answer

PASSWORD = "correct horse battery staple"
HASHED = hash_password(PASSWORD)


class SessionTestCase(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = self.desk.service.gate

    def people(self, **roles: str) -> None:
        """Let these people be known, all with one password."""
        entries = [
            UserEntry(name=name, role=role, created_at=MADE_AT, password=HASHED)
            for name, role in roles.items()
        ]
        self.gate.adopt(Keyring(users=tuple(entries)))

    def sign_in(self, **body: str) -> Answer:
        return self.desk.ask("POST", "/session", body)

    def cookie_of(self, answer: Answer) -> str:
        self.assertEqual(answer.status, 200, answer.body)
        cookie = answer.header("set-cookie")
        assert cookie is not None
        return cookie.partition(";")[0]


class OpenTests(SessionTestCase):
    def test_everyone(self) -> None:
        found = self.get("/session")
        self.assertEqual(
            (found["name"], found["kind"], found["open"]), ("everyone", "everyone", True)
        )
        self.assertEqual(found["permissions"], ["admin"])
        self.assertIn("keys create", found["warning"])

    def test_a_name_of_another_site(self) -> None:
        """A page can give its own name this machine's address; what it asks has the name in it."""

        def status(host: str) -> int:
            visit = Visit(self.desk.site)
            visit.send(f"GET /api/v1/stats HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            self.desk.turns(TURNS)
            return read_answer(visit.received())[0].status

        for host in (
            "localhost:7781",
            "127.0.0.1",
            "127.0.0.1:7781",
            "[::1]:7781",
            "10.0.0.7:80",
            "broker:7781",
            "tasks.localhost",
            "ada.local:7781",
        ):
            self.assertEqual(status(host), 200, host)
        for host in ("evil.example", "evil.example:7781", "127.0.0.1.evil.example", "a.b.:1"):
            self.assertEqual(status(host), 401, host)
        self.gate.by_default = False
        self.assertEqual(status("tasks.example"), 200)

    def test_a_wrong_key_is_not_taken_for_nobody(self) -> None:
        self.refused(
            "GET", "/tasks", status=401, code="UNAUTHENTICATED", authorization="Bearer tq_x"
        )


class KeyTests(SessionTestCase):
    def test_bearer(self) -> None:
        keys = Keys(self.gate, mailer=["submit:mail"])
        for scheme in ("Bearer", "bearer", "BEARER"):
            answer = self.desk.ask("GET", "/session", authorization=f"{scheme} {keys['mailer']}")
            self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json,
            {
                "name": "mailer",
                "kind": "key",
                "role": None,
                "permissions": ["submit:mail"],
                "open": False,
                "warning": None,
            },
        )

    def test_no_password_goes_with_requests(self) -> None:
        Keys(self.gate, mailer=["admin"])
        problem = self.refused(
            "GET", "/tasks", status=401, code="UNAUTHENTICATED", authorization="Basic bTpw"
        )
        self.assertIn("Basic", problem["detail"])
        self.assertNotIn("bTpw", str(problem))

    def test_many_wrong_keys(self) -> None:
        Keys(self.gate, mailer=["admin"])
        answers = [
            self.desk.ask("GET", "/tasks", authorization=f"Bearer wrong{n}") for n in range(12)
        ]
        self.assertEqual((answers[0].status, answers[-1].status), (401, 429))
        self.assertEqual(answers[-1].json["code"], "RATE_LIMITED")
        self.assertGreaterEqual(int(answers[-1].header("retry-after") or 0), 1)

    def test_before_anything_else_is_looked_at(self) -> None:
        Keys(self.gate, mailer=["admin"])
        for path in ("/tasks?limit=wrong", "/tasks/wrong", "/queues/a%20b"):
            self.refused("GET", path, status=401, code="UNAUTHENTICATED")
        self.refused("POST", "/tasks", {"no": 1}, status=401, code="UNAUTHENTICATED")

    def test_a_certificate(self) -> None:
        entry = CertificateEntry(
            name="ops", id="c", subject="CN=ops", allow=("read",), created_at=MADE_AT
        )
        self.gate.adopt(Keyring(certificates=(entry,)))
        self.refused("GET", "/tasks", status=401, code="UNAUTHENTICATED")
        self.patch(credentials, "certificate_of", lambda _: PeerCertificate("CN=ops", ()))
        self.assertEqual(self.get("/session")["kind"], "certificate")
        self.refused("POST", "/tasks", {"type": "t"}, status=403, code="FORBIDDEN")

    def test_what_is_open(self) -> None:
        """Descriptions hold no data."""
        Keys(self.gate, mailer=["admin"])
        for path in ("/docs", "/docs.js", "/docs.css", "/openapi.json"):
            self.assertEqual(self.desk.ask("GET", path).status, 200, path)
        self.assertEqual(self.desk.ask("OPTIONS", "/tasks").status, 204)


class SignInTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.people(ada="operator", bob="viewer")

    def test_with_a_password(self) -> None:
        answer = self.sign_in(name="ada", password=PASSWORD)
        self.assertEqual((answer.json["name"], answer.json["role"]), ("ada", "operator"))
        cookie = answer.header("set-cookie") or ""
        for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(f"; {attribute}", cookie)
        self.assertNotIn("Secure", cookie)
        found = self.desk.ask("GET", "/session", cookie=self.cookie_of(answer))
        self.assertEqual(found.json, answer.json)
        self.assertEqual(answer.header("cache-control"), "no-store")

    def test_with_a_key(self) -> None:
        keys = Keys(self.gate, ops=["read:*"])
        answer = self.sign_in(key=keys["ops"])
        found = self.desk.ask("GET", "/tasks", cookie=self.cookie_of(answer))
        self.assertEqual(found.status, 200)

    def test_under_tls(self) -> None:
        self.patch(self.desk.site.requestFactory, "isSecure", lambda _: True)
        answer = self.sign_in(name="ada", password=PASSWORD)
        self.assertIn("; Secure", answer.header("set-cookie") or "")

    def test_wrong(self) -> None:
        """With the same words for a wrong name and a wrong password."""
        found = [
            self.sign_in(name=name, password=password)
            for name, password in (("ada", "wrong"), ("eve", PASSWORD))
        ]
        self.assertEqual(found[0].status, 401)
        self.assertEqual(found[0].body, found[1].body)
        self.assertIsNone(found[0].header("set-cookie"))

    def test_what_is_no_sign_in(self) -> None:
        for body in (
            {},
            {"name": "ada"},
            {"password": PASSWORD},
            {"name": "ada", "password": PASSWORD, "key": "k"},
            {"name": "ada", "key": "k"},
            {"name": "ada", "password": 7},
            {"name": "ada", "password": ""},
            {"key": "x" * 1025},
        ):
            problem = self.refused("POST", "/session", body)
            self.assertNotIn(PASSWORD, str(problem))

    def test_sign_out(self) -> None:
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        answer = self.desk.ask("DELETE", "/session", cookie=cookie)
        self.assertEqual(answer.status, 204)
        self.assertIn("Max-Age=0", answer.header("set-cookie") or "")
        self.refused("GET", "/session", status=401, code="UNAUTHENTICATED", cookie=cookie)
        self.assertEqual(self.desk.ask("DELETE", "/session").status, 204)

    def test_other_sites(self) -> None:
        """A cookie helps no page of another site, and nobody is signed in by one."""
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        for method, path, body in (
            ("POST", "/queues/q/pause", NOTHING),
            ("POST", "/session", {"name": "ada", "password": PASSWORD}),
            ("DELETE", "/session", NOTHING),
        ):
            for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.example"}):
                self.refused(
                    method,
                    path,
                    body,
                    status=403,
                    code="FORBIDDEN_ORIGIN",
                    cookie=cookie,
                    **headers,
                )
        self.assertEqual(self.desk.ask("GET", "/session", cookie=cookie).status, 200)

    def test_roles(self) -> None:
        ada = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        bob = self.cookie_of(self.sign_in(name="bob", password=PASSWORD))
        for cookie, status in ((ada, 200), (bob, 403)):
            answer = self.desk.ask("POST", "/queues/q/pause", cookie=cookie)
            self.assertEqual(answer.status, status)
        for cookie in (ada, bob):
            self.assertEqual(self.desk.ask("GET", "/stats", cookie=cookie).status, 200)
            answer = self.desk.ask("POST", "/workers/w/quiet", cookie=cookie)
            self.assertEqual(answer.status, 403)

    def test_when_it_ends(self) -> None:
        self.gate.limit_sessions(100, 250)
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        for _ in range(4):
            self.pass_time(60)
            self.assertEqual(self.desk.ask("GET", "/session", cookie=cookie).status, 200)
        self.pass_time(60)
        self.assertEqual(self.desk.ask("GET", "/session", cookie=cookie).status, 401)
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        self.pass_time(101)
        self.assertEqual(self.desk.ask("GET", "/session", cookie=cookie).status, 401)

    def test_somebody_removed(self) -> None:
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        self.people(bob="viewer")
        self.assertEqual(self.desk.ask("GET", "/session", cookie=cookie).status, 401)

    def test_it_is_audited(self) -> None:
        told: list[tuple[Any, str, dict[str, Any]]] = []

        def record(who: Any, operation: str, **more: Any) -> None:
            told.append((who, operation, more))

        self.patch(self.gate.audit, "record", record)
        self.sign_in(name="ada", password="wrong")
        self.sign_in(name="ada", password=PASSWORD)
        outcomes = [(what, more.get("outcome", "ok")) for _, what, more in told]
        self.assertEqual(outcomes, [("authenticate", "UNAUTHENTICATED"), ("sign_in", "ok")])
        self.assertEqual(told[1][0].name, "ada")
        self.assertEqual((told[1][2]["peer"], told[1][2]["door"]), ("192.168.1.1", "http"))
        self.assertNotIn(PASSWORD, repr(told))

    def test_who_hangs_up_while_the_password_is_checked(self) -> None:
        checked: Deferred[bool] = Deferred()
        self.gate._hashing = lambda *_: checked
        visit = self.desk.begin("POST", "/session", {"name": "ada", "password": PASSWORD})
        visit.hang_up()
        checked.callback(True)
        self.desk.turns(TURNS)
        self.assertEqual(visit.received(), b"")
        self.gate._hashing = lambda *_: succeed(True)


class ReadOnlyTests(SessionTestCase):
    http = HttpConfig(api="read")

    def test_one_may_sign_in_all_the_same(self) -> None:
        self.people(ada="admin")
        cookie = self.cookie_of(self.sign_in(name="ada", password=PASSWORD))
        self.refused("POST", "/tasks", {"type": "t"}, status=403, code="READ_ONLY", cookie=cookie)
        self.assertEqual(self.desk.ask("DELETE", "/session", cookie=cookie).status, 204)


class LastingTests(SessionTestCase):
    """Requests that last end when who asked may stay no longer."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = Keys(self.gate, own=["read:own", "submit:own"], admin=["admin"])
        self.bearer = f"Bearer {self.keys['own']}"
        admin = f"Bearer {self.keys['admin']}"
        body = {"type": "t", "queue": "own"}
        self.task = self.ask("POST", "/tasks", body, 201, authorization=admin)["id"]

    def stream(self, query: str = "") -> Any:
        visit = self.desk.begin("GET", f"/events{query}", authorization=self.bearer)
        self.desk.turns(TURNS)
        self.assertIn(b" 200 OK", visit.received())
        return visit

    def test_a_stream(self) -> None:
        visit = self.stream()
        self.assertEqual(len(self.desk.service.events), 1)
        self.keys.revoke("own")
        self.desk.turns(TURNS)
        self.assertTrue(visit.transport.value().endswith(b"0\r\n\r\n"), visit.transport.value())
        self.assertEqual(len(self.desk.service.events), 0)
        self.desk.service.cancel([self.task])
        self.pass_time(2)
        self.assertNotIn(b"cancelled", visit.received())

    def test_a_stream_of_who_expires(self) -> None:
        self.keys.add("brief", "read", expires_at=datetime.fromtimestamp(1010, UTC))
        self.bearer = f"Bearer {self.keys['brief']}"
        self.stream()
        self.pass_time(9)
        self.gate.expire()
        self.assertEqual(len(self.desk.service.events), 1)
        self.pass_time(2)
        self.gate.expire()
        self.assertEqual(len(self.desk.service.events), 0)

    def test_a_stream_of_who_may_do_other_things(self) -> None:
        """It ends: who comes back hears what may be heard now."""
        visit = self.stream()
        self.keys.allow("own", "read:other")
        self.desk.turns(TURNS)
        self.assertTrue(visit.transport.value().endswith(b"0\r\n\r\n"))

    def test_a_stream_of_who_signs_out(self) -> None:
        """It ends with the next beat."""
        answer = self.desk.ask("POST", "/session", {"key": self.keys["own"]})
        cookie = (answer.header("set-cookie") or "").partition(";")[0]
        visit = self.desk.begin("GET", "/events", cookie=cookie)
        self.pass_time(20)
        self.assertEqual(len(self.desk.service.events), 1)
        self.desk.ask("DELETE", "/session", cookie=cookie)
        self.pass_time(20)
        self.assertEqual(len(self.desk.service.events), 0)
        self.assertTrue(visit.received().endswith(b"0\r\n\r\n"))

    def test_a_stream_of_whose_session_is_over(self) -> None:
        self.gate.limit_sessions(1000, 50)
        answer = self.desk.ask("POST", "/session", {"key": self.keys["own"]})
        cookie = (answer.header("set-cookie") or "").partition(";")[0]
        self.desk.begin("GET", "/events", cookie=cookie)
        self.pass_time(30)
        self.assertEqual(len(self.desk.service.events), 1)
        self.pass_time(30)
        self.assertEqual(len(self.desk.service.events), 0)

    def test_others_hear_on(self) -> None:
        visit = self.stream()
        self.keys.revoke("admin")
        self.desk.service.cancel([self.task])
        self.pass_time(1)
        self.assertIn(b"cancelled", visit.received())

    def test_waiting_for_a_task(self) -> None:
        visit = self.desk.begin("GET", f"/tasks/{self.task}/outcome", authorization=self.bearer)
        self.desk.turns(TURNS)
        self.assertEqual(visit.received(), b"")
        self.keys.revoke("own")
        self.desk.turns(TURNS)
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"]), (401, "UNAUTHENTICATED"))
        self.assertEqual(len(self.desk.service.watches), 0)

    def test_waiting_for_a_task_that_may_not_be_read_any_more(self) -> None:
        visit = self.desk.begin("GET", f"/tasks/{self.task}/outcome", authorization=self.bearer)
        self.desk.turns(TURNS)
        self.keys.allow("own", "read:other")
        self.desk.turns(TURNS)
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"]), (404, "UNKNOWN_TASK"))

    def test_nothing_is_kept_of_what_is_over(self) -> None:
        for _ in range(3):
            self.ask("GET", "/tasks", authorization=self.bearer)
        [resource] = [
            call.__self__
            for call in self.gate._listeners
            if type(call.__self__).__name__ == "ApiResource"
        ]
        self.assertEqual(resource._visits, set())
