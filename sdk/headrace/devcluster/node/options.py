"""What a node is told: its name, labels, taints and capacity, as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import psutil
from kubernetes.utils import parse_quantity

from headrace.devcluster.errors import BadNodeOption

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PODS = "110"
"""As a kubelet allows; they are processes of this machine, so it is a limit of common sense."""
DNS_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint; `value` may be empty."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{'=' if self.value else ''}{self.value}:{self.effect}"


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """A node as it registers; `capacity` only where it differs from what the machine has."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    capacity: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """The same as arguments of `python -m headrace.devcluster.node`."""
        labels = [f"--label={key}={value}" for key, value in self.labels.items()]
        taints = [f"--taint={taint}" for taint in self.taints]
        capacity = ",".join(f"{name}={amount}" for name, amount in self.capacity.items())
        return [f"--name={self.name}", *labels, *taints, *([f"--capacity={capacity}"] if capacity else [])]


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """
    One node process.

    Attributes: `directory` holds pods' volumes and logs, and is the node's alone; `port` of its server, 0 takes a
    free one; `client_authority` (PEM) signs the certificate with which the API server asks for logs.
    """

    description: NodeDescription
    directory: Path
    kubeconfig: Path
    port: int = 0
    client_authority: Path | None = None


def parse_label(text: str) -> tuple[str, str]:
    """A label written `key=value`. Raises: BadNodeOption."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        msg = f'label "{text}": expected KEY=VALUE, for example headrace.dev/pool=gpu'
        raise BadNodeOption(msg)
    return key, value


def parse_taint(text: str) -> Taint:
    """A taint written `key=value:Effect` or `key:Effect`. Raises: BadNodeOption."""
    found = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(\w+)", text)
    if not found or found[3] not in EFFECTS:
        msg = f'taint "{text}": expected KEY=VALUE:EFFECT with an effect of {", ".join(EFFECTS)}, '
        msg += "for example nvidia.com/gpu=present:NoSchedule"
        raise BadNodeOption(msg)
    return Taint(found[1], found[2] or "", found[3])


def parse_capacity(pairs: Iterable[str]) -> dict[str, str]:
    """Amounts by resource, each written `resource=quantity`. Raises: BadNodeOption."""
    amounts = {}
    for text in pairs:
        name, _, amount = text.partition("=")
        try:
            parse_quantity(amount)
        except ValueError as error:
            msg = f'capacity "{text}": expected RESOURCE=QUANTITY, for example memory=8Gi or nvidia.com/gpu=1'
            raise BadNodeOption(msg) from error
        amounts[name] = amount
    return amounts


def parse_name(text: str) -> str:
    """A node's name. Raises: BadNodeOption: it is no DNS subdomain."""
    if not DNS_NAME.fullmatch(text):
        msg = f'node name "{text}": expected lower case letters, digits, "-" and ".", at most 253'
        raise BadNodeOption(msg)
    return text


def machine_capacity() -> dict[str, str]:
    """What this machine has, as a kubelet would report it."""
    memory_ki = psutil.virtual_memory().total // 1024
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory_ki}Ki", "pods": PODS}


def quantity(text: str | float) -> Decimal:
    """A Kubernetes quantity as a number: cores, bytes or pieces. Raises: ValueError."""
    return Decimal(parse_quantity(text))
