"""
The options that say how a command connects: with what TLS is verified, and with which key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from taskqueue.cli.exits import USAGE
from taskqueue.cli.running import complain
from taskqueue.client.credentials import FILE_VARIABLE, ApiKey
from taskqueue.client.options import ClientOptions
from taskqueue.client.tls import CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE, TLS
from taskqueue.errors import BadRequest

_FILE = click.Path(dir_okay=False)


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a group the options; it gets C{how}, the L{ClientOptions} that they make."""

    @click.option(
        "--tls-ca",
        "ca",
        type=_FILE,
        metavar="FILE",
        help="Who may sign the broker's certificate, for tqs:// addresses; those that this "
        f"machine trusts if absent. [{CA_VARIABLE}]",
    )
    @click.option(
        "--tls-certificate",
        "certificate",
        type=_FILE,
        metavar="FILE",
        help=f"The own certificate, where the broker asks for one. [{CERTIFICATE_VARIABLE}]",
    )
    @click.option(
        "--tls-key",
        "key",
        type=_FILE,
        metavar="FILE",
        help=f"Its key; in the certificate's file if absent. [{KEY_VARIABLE}]",
    )
    @click.option(
        "--tls-insecure-accept-any-certificate",
        "insecure",
        is_flag=True,
        help="Verify nothing: whoever is on the way can read and change everything.",
    )
    @click.option(
        "--api-key-file",
        type=_FILE,
        metavar="FILE",
        help="Where the key is by which the broker knows who asks; TASKQUEUE_API_KEY has the key "
        f"itself. [{FILE_VARIABLE}]",
    )
    @wraps(command)
    def run_it(
        *given: Any,
        ca: str | None,
        certificate: str | None,
        key: str | None,
        insecure: bool,
        api_key_file: str | None,
        **options: Any,
    ) -> None:
        how = ClientOptions()
        if insecure:
            complain("TLS certificates are NOT verified (--tls-insecure-accept-any-certificate)")
        if insecure or ca or certificate or key:
            how["tls"] = TLS(
                ca=ca,
                certificate=certificate,
                key=key,
                insecure_accept_any_certificate=insecure,
            )
        if api_key_file:
            how["api_key"] = _key_in(api_key_file)
        command(*given, how=how, **options)

    return run_it


def _key_in(path: str) -> ApiKey:
    try:
        return ApiKey(path=path)
    except BadRequest as error:
        complain(str(error))
        raise SystemExit(USAGE) from None
