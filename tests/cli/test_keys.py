"""Commands on keys, users and certificates, which act on a file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.file import KeyringFile
from taskqueue.access.gate import Gate
from taskqueue.access.identities import Identity
from taskqueue.access.keyring import Keyring
from taskqueue.access.passwords import verify
from taskqueue.cli.main import cli
from taskqueue.core.moments import Now
from taskqueue.errors import Unauthenticated

#: Long after every moment in these tests.
_LATER = 4e9


class KeyringCommands(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"PATH": os.environ.get("PATH", "")})
        self.directory = self.mktemp()
        self.path = os.path.join(self.directory, "access.json")

    def run_it(self, *arguments: str, stdin: str = "", **environ: str) -> Result:
        return CliRunner().invoke(
            cli, arguments, input=stdin, env=environ, prog_name="taskqueue", catch_exceptions=False
        )

    def done(self, *arguments: str, stdin: str = "") -> str:
        """What a command that succeeds prints on the standard output."""
        result = self.run_it(*arguments, "--data-dir", self.directory, stdin=stdin)
        self.assertEqual(result.exit_code, 0, result.stderr)
        return result.stdout

    def refused(self, *arguments: str, stdin: str = "", status: int = 2) -> str:
        """What a command that fails says."""
        result = self.run_it(*arguments, "--data-dir", self.directory, stdin=stdin)
        self.assertEqual((result.exit_code, result.stdout), (status, ""), result.stderr)
        return result.stderr

    def keyring(self) -> Keyring:
        reading = KeyringFile(self.path).read()
        return reading.keyring if reading else Keyring()

    def identity(self, key: str, wall: float | None = None) -> Identity:
        """Whom a key lets in."""
        now = self.keyring().keys[-1].created_at.timestamp() if wall is None else wall
        gate = Gate(lambda: Now(now, 0.0))
        gate.adopt(self.keyring())
        return gate.by_key(key.strip())


class KeyTests(KeyringCommands):
    def test_the_key_alone_is_on_the_standard_output(self) -> None:
        result = self.run_it(
            *("keys", "create", "--name", "mailer", "--allow", "submit:mail,claim:mail"),
            *("--allow", "read:mail-*", "--expires", "90d", "--data-dir", self.directory),
        )
        self.assertEqual(result.exit_code, 0, result.stderr)
        self.assertRegex(result.stdout, r"\Atq_\w{12}_\w{32}\n\Z")
        self.assertNotIn(result.stdout.strip(), result.stderr)
        self.assertIn("may submit:mail, claim:mail, read:mail-* until 20", result.stderr)
        found = self.identity(result.stdout)
        self.assertEqual(found.name, "mailer")
        self.assertEqual(found.permissions.words(), ["submit:mail", "claim:mail", "read:mail-*"])
        self.assertIn(
            "expired at",
            str(self.assertRaises(Unauthenticated, self.identity, result.stdout, _LATER)),
        )

    def test_the_file_is_its_owners(self) -> None:
        self.done("keys", "create", "--name", "a", "--role", "admin")
        for path in (self.path, self.path + ".lock"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.directory).st_mode), 0o700)

    def test_nothing_secret_is_listed_or_kept(self) -> None:
        secret = self.done("keys", "create", "--name", "a", "--role", "admin").strip()
        table = self.done("keys", "list")
        listed = self.done("keys", "list", "--format", "json")
        kept = Path(self.path).read_text()
        for text in (table, listed, kept):
            self.assertIn(secret[3:15], text)
            self.assertNotIn(secret[16:], text)
        self.assertNotIn(self.keyring().keys[0].sha256, table + listed)

    def test_for_programs(self) -> None:
        made = json.loads(
            self.done("keys", "create", "--name", "a", "--role", "viewer", "--format", "json")
        )
        self.assertEqual(self.identity(made["key"]).role, "viewer")
        (listed,) = json.loads(self.done("keys", "list", "--format", "json"))
        self.assertEqual(listed, {name: made[name] for name in listed})
        self.assertEqual(listed["permissions"], ["read:*", "metrics", "values:read:*"])

    def test_rotate(self) -> None:
        old = self.done("keys", "create", "--name", "a", "--allow", "submit:mail")
        new = self.done("keys", "rotate", "a", "--grace", "1h")
        for key in (old, new):
            self.assertEqual(self.identity(key).permissions.words(), ["submit:mail"])
        with self.assertRaises(Unauthenticated):
            self.identity(old, _LATER)
        self.assertEqual(self.identity(new, _LATER).name, "a")

    def test_rotate_at_once(self) -> None:
        old = self.done("keys", "create", "--name", "a", "--allow", "submit:mail")
        new = self.done("keys", "rotate", "a", "--grace", "0")
        error = self.assertRaises(Unauthenticated, self.identity, old)
        self.assertIn("was revoked at", str(error))
        self.identity(new)

    def test_revoke(self) -> None:
        first = self.done("keys", "create", "--name", "a", "--allow", "submit:mail")
        self.done("keys", "rotate", "a")
        self.done("keys", "revoke", first[3:15])
        self.assertEqual(
            [one["state"] for one in json.loads(self.done("keys", "list", "--format", "json"))],
            ["revoked", "valid"],
        )
        self.done("keys", "revoke", "a")
        self.assertIn("counts no more already", self.refused("keys", "revoke", "a"))

    def test_what_is_wrong_is_said(self) -> None:
        self.done("keys", "create", "--name", "mailer", "--allow", "submit:mail")
        before = Path(self.path).read_bytes()
        create = ("keys", "create", "--name")
        for arguments, why in (
            ((*create, "b", "--allow", "sumbit:mail"), "Did you mean submit?"),
            ((*create, "b", "--role", "viewr"), "Did you mean viewer?"),
            ((*create, "b"), "Say what is allowed"),
            ((*create, "mailer", "--role", "admin"), "taskqueue keys rotate mailer"),
            ((*create, "b c", "--role", "admin"), "cannot be a name"),
            ((*create, "b", "--role", "admin", "--expires", "2020-01-01"), "expired already"),
            ((*create, "b", "--role", "admin", "--expires", "soon"), "write 90d, 12h, 2027-06-30"),
            ((*create, "b", "--role", "admin", "--expires", "2027"), "write 90d, 12h, 2027-06-30"),
            (("keys", "rotate", "mailer", "--expires", "2020-01-01"), "expired already"),
            (("keys", "rotate", "mailr"), "Did you mean mailer?"),
            (("keys", "revoke", "x"), "There is no key 'x'. Known: mailer."),
            (("users", "passwd", "x"), "There is no user 'x'. Known: none."),
            (("certificates", "remove", "x"), "There is no entry for certificates 'x'"),
            (("certificates", "allow", "--name", "x", "--role", "admin"), "which certificates"),
        ):
            said = self.refused(*arguments)
            self.assertIn(why, said)
            self.assertNotIn("Traceback", said)
        self.assertEqual(Path(self.path).read_bytes(), before)

    def test_a_broken_file(self) -> None:
        os.mkdir(self.directory)
        Path(self.path).write_text("{}")
        said = self.refused("keys", "list", status=1)
        self.assertIn(os.path.abspath(self.path), said)
        self.assertIn("Restore it from a backup", said)


class PermitTests(KeyringCommands):
    def test_something_else_than_before(self) -> None:
        key = self.done("keys", "create", "--name", "a", "--role", "admin", "--note", "n")
        self.done("keys", "permit", "a", "--allow", "submit:mail,read:mail")
        found = self.identity(key)
        self.assertEqual(found.permissions.words(), ["submit:mail", "read:mail"])
        self.assertIsNone(found.role)
        self.assertEqual(self.keyring().keys[0].note, "n")
        made = json.loads(self.done("keys", "permit", "a", "--role", "viewer", "--format", "json"))
        self.assertEqual(made["permissions"], ["read:*", "metrics", "values:read:*"])

    def test_users_and_certificates(self) -> None:
        add = ("users", "add", "ann", "--role", "viewer", "--password-stdin")
        self.done(*add, stdin="correct horse\n")
        (before,) = self.keyring().users
        self.done("users", "permit", "ann", "--role", "operator")
        (after,) = self.keyring().users
        self.assertEqual((after.role, after.password), ("operator", before.password))
        self.done("certificates", "allow", "--name", "w", "--subject", "CN=w", "--allow", "claim")
        self.done("certificates", "permit", "w", "--allow", "claim:mail")
        (certificate,) = self.keyring().certificates
        self.assertEqual((certificate.allow, certificate.subject), (("claim:mail",), "CN=w"))

    def test_what_is_wrong_is_said(self) -> None:
        self.done("keys", "create", "--name", "a", "--role", "admin")
        for arguments, why in (
            (("keys", "permit", "b", "--role", "viewer"), "There is no key 'b'. Known: a."),
            (("users", "permit", "a", "--role", "viewer"), "There is no user 'a'"),
            (("keys", "permit", "a"), "Say what is allowed"),
            (("keys", "permit", "a", "--allow", "admin:x"), "takes no queue"),
        ):
            self.assertIn(why, self.refused(*arguments))


class WhichFileTests(KeyringCommands):
    def locate(self, *arguments: str, **environ: str) -> str:
        """Where a key went."""
        result = self.run_it("keys", "create", "--name=a", "--role=admin", *arguments, **environ)
        self.assertEqual(result.exit_code, 0, result.stderr)
        return result.stderr.partition(" is new")[0]

    def write(self, text: str) -> str:
        path = self.mktemp()
        Path(path).write_text(text)
        return path

    def test_as_the_broker_finds_it(self) -> None:
        place = os.path.abspath(self.mktemp())
        data = self.write(f"[store]\npath = {place}\n")
        own = self.write(f"[store]\nkind = memory\n[access]\nfile = {place}/keys.json\n")
        self.assertEqual(self.locate("--config", data), f"{place}/access.json")
        self.assertEqual(self.locate(TASKQUEUE_CONFIG=own), f"{place}/keys.json")
        self.assertEqual(self.locate(TASKQUEUE_STORE_PATH=f"{place}/b"), f"{place}/b/access.json")
        self.assertEqual(self.locate("--file", f"{place}/c"), f"{place}/c")

    def test_nowhere(self) -> None:
        memory = self.write("[store]\nkind = memory\n")
        result = self.run_it("keys", "list", "--config", memory)
        self.assertEqual(result.exit_code, 2)
        self.assertIn("--file", result.stderr)

    def test_a_configuration_that_is_not_usable(self) -> None:
        wrong = self.write("[store]\nkind = paper\n")
        result = self.run_it("keys", "list", "--config", wrong)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("one of sqlite, memory", result.stderr)


class UserTests(KeyringCommands):
    def add(self, *arguments: str, password: str = "correct horse", **more: Any) -> str:
        return self.done("users", "add", *arguments, "--password-stdin", stdin=f"{password}\n")

    def test_a_password_is_hashed(self) -> None:
        self.add("ann", "--role", "operator", "--allow", "submit:mail")
        (ann,) = self.keyring().users
        self.assertTrue(ann.password.startswith("$argon2id$v=19$m=19456,t=3,p=1$"))
        self.assertTrue(verify(ann.password, "correct horse"))
        self.assertNotIn(ann.password, self.done("users", "list", "--format", "json"))
        self.assertIn("operator", self.done("users", "list"))

    def test_another_password(self) -> None:
        self.add("ann", "--role", "viewer")
        self.done("users", "passwd", "ann", "--password-stdin", stdin="something else\r\n")
        (ann,) = self.keyring().users
        self.assertTrue(verify(ann.password, "something else"))
        self.assertFalse(verify(ann.password, "correct horse"))
        self.assertEqual(ann.role, "viewer")

    def test_remove(self) -> None:
        self.add("ann", "--role", "viewer")
        self.done("users", "remove", "ann")
        self.assertEqual(self.keyring().users, ())

    def test_what_is_wrong_is_said_before_a_password_is_asked_for(self) -> None:
        self.add("ann", "--role", "viewer")
        for arguments, why in (
            (("users", "add", "ann", "--role", "viewer"), "taskqueue users passwd ann"),
            (("users", "add", "bob"), "Say what is allowed"),
            (("users", "add", "bob", "--role", "boss"), "There is no role 'boss'"),
            (("users", "add", "bob", "--role", "admin"), "with --password-stdin"),
            (("users", "passwd", "an"), "Did you mean ann?"),
        ):
            self.assertIn(why, self.refused(*arguments))

    def test_a_password_that_is_too_short(self) -> None:
        said = self.refused(
            *("users", "add", "bob", "--role", "admin", "--password-stdin"), stdin="short\n"
        )
        self.assertIn("at least 10 characters", said)
        self.assertNotIn("short", said)


class CertificateTests(KeyringCommands):
    def test_allow_list_remove(self) -> None:
        allow = ("certificates", "allow", "--name")
        self.done(*allow, "workers", "--subject", "CN=worker-*,O=Example", "--allow", "claim")
        self.done(*allow, "web", "--san", "DNS:web.example", "--allow", "submit:mail")
        listed = json.loads(self.done("certificates", "list", "--format", "json"))
        self.assertEqual(
            [(one["name"], one["subject"], one["san"]) for one in listed],
            [("workers", "CN=worker-*,O=Example", None), ("web", None, "DNS:web.example")],
        )
        gate = Gate(lambda: Now(0.0, 0.0))
        gate.adopt(self.keyring())
        found = gate.by_certificate("CN=worker-7,O=Example", [])
        assert found is not None
        self.assertEqual((found.name, found.kind), ("workers", "certificate"))
        self.done("certificates", "remove", "workers")
        gate.adopt(self.keyring())
        self.assertIsNone(gate.by_certificate("CN=worker-7,O=Example", []))
        self.assertIsNone(gate.refresh(found))
