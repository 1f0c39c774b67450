"""Every knob of the operator, read once from the environment (`HEADRACE_<NAME>`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

PREFIX = "HEADRACE_"
OUTSIDE_NAMESPACE = "headrace-system"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it, its value and what is expected."""


def _own_namespace() -> str:
    """The namespace of the pod that this is, else that of a local cluster."""
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.is_file() else OUTSIDE_NAMESPACE


def _own_identity() -> str:
    """
    Host and process. A container that is started anew in its pod has both as before, and need not wait for the lease
    of its predecessor, which is over; two processes on one machine differ.
    """
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(BaseModel):
    """The operator's settings; each is described in docs/operations.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field("", description="The only namespace to serve; empty serves all of them.")
    operator_namespace: str = Field(
        default_factory=_own_namespace,
        min_length=1,
        description="Namespace of the operator's Leases: who leads, and the slots of ConcurrencyLimits.",
    )
    cluster_objects: Literal["watch", "ignore"] = Field(
        "watch",
        description="`ignore`: no WorkPools, ConcurrencyLimits, nodes or namespaces' quotas; needs no cluster-wide right.",
    )
    identity: str = Field(
        default_factory=_own_identity, min_length=1, description="Name of this process among its replicas."
    )
    leader_lease_s: float = Field(
        10, ge=2, le=300, description="Seconds after which another replica takes over from a leader that is silent."
    )
    shards: int = Field(
        1,
        ge=1,
        le=256,
        description="Shards over which namespaces are spread, so that replicas share the work; 1: one replica works.",
    )
    default_image: str = Field(
        "headrace/runtime:0.1.0", min_length=1, description="Image of flows that name none: the SDK and nothing else."
    )
    workers: int = Field(
        16, ge=1, le=256, description="Reconciles at the same time. They wait for the API, not for CPU."
    )
    start_deadline_s: float = Field(
        600, gt=0, description="Seconds after which a pod is given up that cannot start: image, Secret or ConfigMap."
    )
    orphan_ttl_s: int = Field(
        7 * 24 * 3600, ge=0, description="Seconds that finished runs are kept that belong to no Deployment."
    )
    revision_limit: int = Field(10, ge=1, description="Revisions kept of a Flow beside those that are in use.")
    status_delay_s: float = Field(
        1.0, ge=0, description="Seconds by which changes of a Deployment's counts are gathered into one write."
    )
    autosize_delay_s: float = Field(
        30.0,
        ge=0,
        description="Seconds by which the ends of a Flow's runs are gathered, to learn its size in one write.",
    )
    history_url: str = Field(
        "", repr=False, description="Store of the records of finished runs: sqlite:////path/file.db or postgresql://…."
    )
    history_retention_days: int = Field(
        365, ge=0, le=36_500, description="Days after which a record is deleted; 0 keeps all of them."
    )
    history_max_held: int = Field(
        20_000, ge=1, description="Finished runs that are held back in the API while the store cannot be used."
    )
    history_batch_size: int = Field(500, ge=1, le=5_000, description="Records that are written at once, at most.")
    history_batch_delay_s: float = Field(
        1.0, ge=0, le=60, description="Seconds by which ends of runs are gathered into one batch."
    )
    history_log_tail: Literal["failed", "all", "none"] = Field(
        "failed", description="Of which runs the end of the log is recorded; it costs a request to the API server."
    )
    history_log_lines: int = Field(100, ge=1, le=10_000, description="Lines of the log that are recorded.")
    webhook_port: int = Field(
        0, ge=0, le=65535, description="Port of the admission webhook on all addresses; 0 for none."
    )
    webhook_name: str = Field(
        "headrace-webhook",
        pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Name of the webhook's Service and Secret; its ValidatingWebhookConfiguration is <name>.<namespace>.",
    )
    webhook_certificate: Literal["own", "given"] = Field(
        "own", description="`own`: made and renewed by the operator; `given`: by what fills the Secret."
    )
    inbound_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of /hooks, where Automations are sent requests, on all addresses; 0 for none.",
    )
    automation_hosts: str = Field(
        "",
        description="Hosts, separated by commas, that Automations may send to though they are on this machine or its link.",
    )
    liveness_port: int = Field(
        8080, ge=0, le=65535, description="Port of /healthz and /readyz on all addresses; 0 for none."
    )
    metrics_port: int = Field(9090, ge=0, le=65535, description="Port of /metrics on all addresses; 0 for none.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is colours on a terminal and JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")

    @field_validator("shards")
    @classmethod
    def _shards_are_of_all(cls, shards: int, info: ValidationInfo) -> int:
        if shards > 1 and info.data.get("namespace"):
            message = "one namespace cannot be spread; leave HEADRACE_NAMESPACE or HEADRACE_SHARDS out"
            raise ValueError(message)
        return shards

    @field_validator("cluster_objects")
    @classmethod
    def _ignored_by_one_namespace(cls, cluster_objects: str, info: ValidationInfo) -> str:
        if cluster_objects == "ignore" and not info.data.get("namespace"):
            message = "an operator of all namespaces needs cluster-wide rights anyway; set HEADRACE_NAMESPACE, or leave it out"
            raise ValueError(message)
        return cluster_objects

    @property
    def webhook_targets(self) -> frozenset[str]:
        """Hosts on this machine or its link that Automations may send to."""
        return frozenset(host.strip().lower() for host in self.automation_hosts.split(",") if host.strip())

    @property
    def lost_write_s(self) -> float:
        """Seconds after which a write that had no answer takes effect no more: it is given up after a third of the lease."""
        return self.leader_lease_s / 2


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
        first = error.errors()[0]
        name = str(first["loc"][0])
        msg = (
            f'{PREFIX}{name.upper()} is "{first["input"]}": {first["msg"]} ({Settings.model_fields[name].description})'
        )
        raise SettingsError(msg) from error
