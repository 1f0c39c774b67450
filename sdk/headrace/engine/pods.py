"""What a task asks for that runs in a pod of its own. Standard library only: it is imported with `headrace`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.errors import UsageError, shown

QUANTITY: Final = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
POOL_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""As the custom resources have them, whose models are too slow to import for every flow."""
MAX_POOL_NAME: Final = 63
MAX_RESOURCES: Final = 32
MAX_TIMEOUT_S: Final = 2**31 - 1

Quantity = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """
    A pod for one task: `@task(pod=Pod(resources={"nvidia.com/gpu": 1}, pools=["gpu"]))`.

    Args:
        resources: What it asks for, by resource name, as Kubernetes writes it: 2, "500m", "4Gi". Devices such as
            nvidia.com/gpu are its limit too. Absent: as the Flow's.
        limits: What it may use at most. Absent: devices only.
        pools: Names of the WorkPools that it may use. Absent: the Flow's.
        timeout_seconds: Whole seconds that the pod may take, its start included. Absent: no bound.
    Raises: UsageError: a value cannot be one.
    """

    resources: Mapping[str, Quantity] = field(default_factory=dict)
    limits: Mapping[str, Quantity] | None = None
    pools: Iterable[str] | None = None
    timeout_seconds: int | None = None

    def __post_init__(self) -> None:
        _refuse_amounts("resources", self.resources)
        if self.limits is not None:
            _refuse_amounts("limits", self.limits)
        _refuse_timeout(self.timeout_seconds)
        if self.pools is not None:
            object.__setattr__(self, "pools", _pools(self.pools))
        for name in self.resources.keys() & (self.limits or {}).keys():
            _refuse_difference(name, self.resources[name], (self.limits or {})[name])

    def spec(self) -> dict[str, Any]:
        """Its part of a FlowRun's `spec.task`: resources, pools, timeoutSeconds, as far as they are set."""
        devices = {name: amount for name, amount in self.resources.items() if is_device(name)}
        limits = {**devices, **(self.limits or {})}
        amounts = {"requests": dict(self.resources), "limits": limits}
        spec: dict[str, Any] = {
            "resources": {key: value for key, value in amounts.items() if value},
            "pools": {"names": list(self.pools)} if self.pools else None,
            "timeoutSeconds": self.timeout_seconds,
        }
        return {key: value for key, value in spec.items() if value}


def is_device(resource: str) -> bool:
    """Whether Kubernetes hands it out whole: then a pod's request and limit are the same."""
    return "/" in resource and "kubernetes.io/" not in resource


def _refuse_amounts(label: str, amounts: object) -> None:
    if not isinstance(amounts, Mapping):
        raise UsageError(f'Pod: {label} is {shown(amounts)}, expected a dict, such as {label}={{"memory": "4Gi"}}')
    if len(amounts) > MAX_RESOURCES:
        raise UsageError(f"Pod: {label} has {len(amounts)} names, expected at most {MAX_RESOURCES}")
    for name, amount in amounts.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f'Pod: {label} has the name {shown(name)}, expected one such as "cpu" or "nvidia.com/gpu"')
        if not _is_amount(amount):
            raise UsageError(
                f'Pod: {label}["{name}"] is {shown(amount)}, expected a number or text of at least 0 as Kubernetes '
                'writes it, such as 2, "500m" or "4Gi"'
            )
        if is_device(name) and not (isinstance(amount, int) or amount.isdigit()):
            raise UsageError(
                f'Pod: {label}["{name}"] is {shown(amount)}, expected a whole number: devices are not split'
            )


def _is_amount(amount: object) -> bool:
    if isinstance(amount, str):
        return re.fullmatch(QUANTITY, amount) is not None
    return isinstance(amount, int) and not isinstance(amount, bool) and amount >= 0


def _refuse_difference(name: str, asked: Quantity, limit: Quantity) -> None:
    if is_device(name) and int(asked) != int(limit):
        raise UsageError(
            f'Pod: resources["{name}"] is {shown(asked)} and limits["{name}"] is {shown(limit)}; a device has one '
            "number: leave it out of limits"
        )


def _pools(pools: object) -> tuple[str, ...]:
    if isinstance(pools, str) or not isinstance(pools, Iterable):
        raise UsageError(f'Pod: pools is {shown(pools)}, expected a list of names, such as pools=["gpu"]')
    names = tuple(pools)
    for name in names:
        if not isinstance(name, str) or len(name) > MAX_POOL_NAME or not re.fullmatch(POOL_NAME, name):
            raise UsageError(f'Pod: pools has {shown(name)}, expected the name of a WorkPool, such as "gpu"')
    if not names or len(set(names)) < len(names):
        raise UsageError(f"Pod: pools is {shown(list(names))}, expected at least one name, each once; or leave it out")
    return names


def _refuse_timeout(timeout: object) -> None:
    if timeout is None:
        return
    if not isinstance(timeout, int) or isinstance(timeout, bool) or not 1 <= timeout <= MAX_TIMEOUT_S:
        raise UsageError(f"Pod: timeout_seconds is {shown(timeout)}, expected whole seconds of at least 1")
