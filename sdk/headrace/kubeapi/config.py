"""Where the cluster is and how to sign in, read by the `kubernetes` package: kubeconfig or ServiceAccount."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.kubeapi.errors import ConfigurationError

ASKED_EVERY_S: Final = 1.0
"""Tokens are replaced minutes before they end."""
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Connection:
    """
    One API server and the right to talk to it.

    `authorization` returns the value of the Authorization header, of which none is older than a second, or None; it is asked before
    every request, as ServiceAccount tokens and exec credentials expire. It raises OSError where that value cannot be had now.
    """

    server: str
    namespace: str
    ssl: ssl.SSLContext | bool
    authorization: Callable[[], str | None]


def load_connection(kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """
    The connection of this process: the ServiceAccount inside a pod, else the kubeconfig.

    Args:
        kubeconfig: A path; None takes `KUBECONFIG` or `~/.kube/config`.
        context: A context of it; None takes the current one.
    Raises: ConfigurationError: there is none, or it is broken.
    """
    from kubernetes import client, config  # noqa: PLC0415 - 0.3 s to import, paid by those who connect

    configuration = client.Configuration()
    in_cluster = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=configuration)
            namespace = IN_CLUSTER_NAMESPACE.read_text().strip()
        else:
            config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
            namespace = _namespace_of(kubeconfig, context)
    except (config.ConfigException, OSError) as error:
        msg = f"no cluster to talk to: {error}; name one with --context or KUBECONFIG, or start one: headrace dev up"
        raise ConfigurationError(msg) from error

    def authorization() -> str | None:
        try:
            setting = configuration.auth_settings().get("BearerToken")
        except config.ConfigException as error:  # one that is being replaced: it is there again soon
            msg = f"there is no token to sign in with at the moment: {error}"
            raise ConnectionError(msg) from error
        return str(setting["value"]).strip() if setting else None

    return Connection(
        server=configuration.host.rstrip("/"),
        namespace=namespace,
        ssl=_ssl_context(configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        if configuration.verify_ssl
        else _unverified(configuration.cert_file, configuration.key_file),
        authorization=_asked_seldom(authorization),
    )


def _asked_seldom(authorization: Callable[[], str | None]) -> Callable[[], str | None]:
    """The same, asked once in `ASKED_EVERY_S`: to read a kubeconfig's credentials anew takes longer than to build a request."""
    value: str | None = None
    asked_at_s: float | None = None

    def current() -> str | None:
        nonlocal value, asked_at_s
        now_s = time.monotonic()
        if asked_at_s is None or now_s - asked_at_s >= ASKED_EVERY_S:
            value, asked_at_s = authorization(), now_s
        return value

    return current


def _namespace_of(kubeconfig: str | None, context: str | None) -> str:
    from kubernetes import config  # noqa: PLC0415 - as above

    contexts, current = config.list_kube_config_contexts(config_file=kubeconfig)
    chosen = next((c for c in contexts if c["name"] == context), current)
    return str(chosen["context"].get("namespace", "default"))


def _ssl_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if cert:
        context.load_cert_chain(cert, key)
    return context


def _unverified(cert: str | None, key: str | None) -> ssl.SSLContext:
    """What `insecure-skip-tls-verify: true` in a kubeconfig asks for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context
