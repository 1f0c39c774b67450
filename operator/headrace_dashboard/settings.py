"""Every knob of the dashboard, read once from the environment (`HEADRACE_DASHBOARD_<NAME>`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PREFIX = "HEADRACE_DASHBOARD_"
LEAST_SECRET = 16
EVERYWHERE = "*"
OWN_RIGHTS = "insecure-own-rights"

Network = IPv4Network | IPv6Network


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it, its value and what is expected."""


class Settings(BaseModel):
    """The dashboard's settings; each is described in docs/dashboard.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; * for all of them, of IPv4 and IPv6."
    )
    port: int = Field(8088, ge=0, le=65535, description="Port to listen on; 0 takes a free one, which the log tells.")
    namespace: str = Field("", description="The only namespace to show; empty shows all that a visitor may see.")
    context: str = Field(
        "", description="A context of the kubeconfig; empty: the current one, or the pod's own identity."
    )
    auth: Literal["token", "header", "insecure-own-rights"] = Field(
        "token",
        description="How visitors are known: by a token of the cluster, by headers of a proxy, or not at all.",
    )
    proxy_secret: str = Field(
        "", repr=False, description="With header: what the proxy sends in the secret header; at least 16 characters."
    )
    proxy_secret_header: str = Field(
        "X-Headrace-Proxy-Secret", min_length=1, description="With header: where the proxy sends the secret."
    )
    proxy_networks: str = Field(
        "", description="With header: networks that the proxy connects from, with commas between; empty: any."
    )
    user_header: str = Field("X-Forwarded-User", min_length=1, description="With header: who the visitor is.")
    groups_header: str = Field(
        "X-Forwarded-Groups", min_length=1, description="With header: the visitor's groups, with commas between."
    )
    user_prefix: str = Field("", description="With header: put before the name, as the API server does for OIDC.")
    groups_prefix: str = Field("", description="With header: put before each group, as the API server does for OIDC.")
    secure_cookie: bool = Field(
        True,  # noqa: FBT003 - pydantic's own way to give a default
        description="Whether the cookie travels over HTTPS alone; false for plain HTTP that is no localhost.",
    )
    rights_ttl_s: float = Field(10, ge=0, le=300, description="Seconds for which an answer about a right is kept.")
    token_ttl_s: float = Field(30, ge=0, le=300, description="Seconds for which an answer about a token is kept.")
    history_url: str = Field(
        "",
        repr=False,
        description="The operator's history store, to be read: postgresql://user@host/database or sqlite:////path/file.db.",
    )
    page_size: int = Field(50, ge=1, le=500, description="Runs on one page of a list.")
    log_lines: int = Field(2000, ge=1, le=20_000, description="Lines of a log that are shown from its end.")
    max_streams: int = Field(
        1000, ge=1, le=20_000, description="Live pages and logs at once; more are asked to come back later."
    )
    log_format: Literal["json", "console"] = Field("json", description="How the dashboard's own log is written.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.auth == "header" and len(self.proxy_secret) < LEAST_SECRET:
            raise ValueError(
                f"{PREFIX}AUTH is header, which anybody could send: set {PREFIX}PROXY_SECRET to {LEAST_SECRET} characters "
                f"or more, and have the proxy send it as {self.proxy_secret_header}"
            )
        if self.auth == OWN_RIGHTS and not is_loopback(self.host):
            raise ValueError(
                f'{PREFIX}AUTH is {OWN_RIGHTS}, which lets in whoever connects: {PREFIX}HOST is "{self.host}", '
                "expected 127.0.0.1; choose token or header to be reached from elsewhere"
            )
        self.networks()
        return self

    def networks(self) -> tuple[Network, ...]:
        """Where the proxy connects from; empty: anywhere. Raises: ValueError."""
        return tuple(ip_network(text.strip()) for text in self.proxy_networks.split(",") if text.strip())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """
    The settings of this process.

    Raises: SettingsError: one has a value that cannot be used.
    """
    source = os.environ if environment is None else environment
    given = {name: source[PREFIX + name.upper()] for name in Settings.model_fields if source.get(PREFIX + name.upper())}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_told(error)) from error


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:  # of several together, which the text names
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    return f'{PREFIX}{name.upper()} is "{first["input"]}": {first["msg"]} ({Settings.model_fields[name].description})'
