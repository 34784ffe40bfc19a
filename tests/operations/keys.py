"""
Keys for tests, and a broker's gate that knows them.
"""

from datetime import UTC, datetime

from taskqueue.access.keyring import KeyEntry, Keyring, digest_of, new_secret

#: When the keys of tests were made.
MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


class Keys:
    """
    The keys that a gate knows.

    @ivar secrets: what the holder of each key is given, by the key's name.
    """

    def __init__(self, gate, **words):
        """
        @param words: of each key, by its name, what it may do.
        """
        self.gate = gate
        self.secrets = {}
        self._entries = {}
        for name, allowed in words.items():
            self._make(name, allowed)
        self._adopt()

    def __getitem__(self, name):
        return self.secrets[name]

    def _make(self, name, allowed, **more):
        secret = new_secret()
        self.secrets[name] = secret.text
        self._entries[name] = KeyEntry(
            name=name,
            allow=tuple(allowed),
            created_at=MADE_AT,
            id=secret.id,
            sha256=digest_of(secret.text),
            **more,
        )

    def _adopt(self):
        self.gate.adopt(Keyring(keys=tuple(self._entries.values())))

    def add(self, name, *allowed, **more):
        """One more key."""
        self._make(name, allowed, **more)
        self._adopt()

    def allow(self, name, *allowed):
        """A key, whose secret stays what it is, may do this instead of what it could."""
        entry = self._entries[name]
        values = {field: getattr(entry, field) for field in entry.__struct_fields__}
        self._entries[name] = KeyEntry(**{**values, "allow": allowed})
        self._adopt()

    def revoke(self, name):
        """A key counts no more."""
        entry = self._entries[name]
        values = {field: getattr(entry, field) for field in entry.__struct_fields__}
        self._entries[name] = KeyEntry(**{**values, "revoked_at": MADE_AT})
        self._adopt()
