"""
What a Flow lets its pods use: a ServiceAccount and Secrets, which its author had to have the rights to.

A revision keeps them when the Flow does not name them any more. Whoever changes its pods by a Deployment is asked for
the rights to what the Flow names then: so no pod is changed that has more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.api.deployment import DeploymentSpec
from headrace.api.flow import FlowSpec
from headrace_operator.decide.snapshot import ObjectKey, ResolvedFlow

_ACCOUNT_FIELDS: Final = ("serviceAccountName", "serviceAccount")
_FREE: Final = "imagePullSecrets"
"""The kubelet reads them, and sends them to their own registry alone."""
_FREE_ACCOUNT: Final = "default"


def entitlements(spec: FlowSpec) -> frozenset[str]:
    """The ServiceAccount and the Secrets that it names, each as `Secret postgres`."""
    account = spec.service_account_name
    places: tuple[Any, ...] = (
        {_ACCOUNT_FIELDS[0]: account, "secrets": list(spec.secrets or ())},
        [variable.model_dump(by_alias=True, exclude_none=True) for variable in spec.env or ()],
        list(spec.env_from or ()),
        (spec.pod_template or {}).get("spec"),
    )
    return frozenset(_named(list(places)))


def override_problem(
    key: ObjectKey, deployment: DeploymentSpec, revision: ResolvedFlow, present: FlowSpec | None
) -> str | None:
    """
    Why the Deployment may make no pods of this revision, in a sentence that says what to do; None if it may.

    Args:
        key: Of the Deployment.
        present: The Flow as it is now. None: there is none, or it cannot be read.
    """
    if revision.spec is not present and (deployment.env or deployment.pod_template):
        more = sorted(entitlements(revision.spec) - (entitlements(present) if present else frozenset()))
        if more:
            return (
                f"Deployment {key.name} changes pods (spec.env, spec.podTemplate) of revision {revision.revision}, which names "
                f"{', '.join(more)}; Flow {revision.name} does not any more: run its present revision, or leave out the changes"
            )
    return None


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, Mapping):
        for field, each in value.items():
            if field in _ACCOUNT_FIELDS and isinstance(each, str) and each != _FREE_ACCOUNT:
                yield f"ServiceAccount {each}"
            elif field != _FREE:
                yield from _secrets(each) if "secret" in field.lower() else _named(each)


def _secrets(value: Any) -> Iterator[str]:
    """Of a field that is called after Secrets: a name, names, a reference, or a volume of one."""
    if isinstance(value, str):
        yield f"Secret {value}"
    elif isinstance(value, list):
        for each in value:
            yield from _secrets(each)
    elif isinstance(value, Mapping):
        for field in ("name", "secretName"):
            if isinstance(value.get(field), str):
                yield f"Secret {value[field]}"
