"""
An AdmissionReview as it comes from the API server, and the answer to it.

The webhook's port can be reached from pods, so nothing of a review is taken on trust: it must be one that our
ValidatingWebhookConfiguration can cause, and agree with itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from headrace.api import keys
from headrace.kubeapi.nesting import loads

API_VERSION: Final = "admission.k8s.io/v1"
MAX_BYTES: Final = 4 * 1024 * 1024
"""The API server takes objects of up to 3 MiB; a review has the old one too, which fits into etcd's 1.5 MiB."""
MAX_BYTES_TOO_DEEP: Final = 256 * 1024
"""What nests too deep for the parser is cut by our own hand, which takes a second for some MiB."""
MOST_WARNINGS: Final = 8
WARNING_LIMIT: Final = 256
"""The API server cuts longer ones when there are many."""
REVIEWED: Final = {
    resource.plural: resource
    for resource in (keys.FLOWS, keys.DEPLOYMENTS, keys.FLOWRUNS, keys.BACKFILLS, keys.AUTOMATIONS)
}
_UID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
NAME: Final = re.compile(r"[0-9a-z]([-.0-9a-z]{0,251}[0-9a-z])?")


class BadReviewError(ValueError):
    """What came in is no review of ours; the text says why, `status` is the HTTP answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Review:
    """
    One object that somebody wants stored.

    Args:
        name: "" where the API server is to make one up.
        user: Who wants it, as the API server knows them.
        old: What is stored; None at a creation.
    """

    uid: str
    kind: str
    namespace: str
    name: str
    user: str
    spec: Mapping[str, Any]
    old: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the API server is told.

    Args:
        problem: Why the object is refused; None lets it pass.
        warnings: What its author should know all the same.
    """

    problem: str | None = None
    warnings: tuple[str, ...] = ()


def review_from(body: bytes) -> Review:
    """The review in a request's body. Raises: BadReviewError."""
    request = _request(_parsed(body))
    uid, operation = request.get("uid"), request.get("operation")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise BadReviewError("request.uid is none")
    if not isinstance(operation, str) or operation not in {"CREATE", "UPDATE"}:
        raise BadReviewError(f"request.operation is {operation!r:.40}; expected CREATE or UPDATE")
    kind = _kind(request)
    obj = _object(request, "object", kind)
    return Review(
        uid=uid,
        kind=kind,
        namespace=_namespace(request, obj),
        name=_name(request, obj),
        user=str(_mapping(request.get("userInfo"), "request.userInfo").get("username", ""))[:253],
        spec=_spec(obj, "object"),
        old=_spec(_object(request, "oldObject", kind), "oldObject") if operation == "UPDATE" else None,
    )


def answer(review: Review, verdict: Verdict) -> bytes:
    """The AdmissionReview that answers it."""
    response: dict[str, Any] = {"uid": review.uid, "allowed": verdict.problem is None}
    if verdict.problem is not None:
        response["status"] = {"code": 422, "reason": "Invalid", "message": verdict.problem}
    if verdict.warnings:
        response["warnings"] = [_cut(warning) for warning in verdict.warnings[:MOST_WARNINGS]]
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _cut(warning: str) -> str:
    line = " ".join(warning.split())
    return line if len(line) <= WARNING_LIMIT else line[: WARNING_LIMIT - 1] + "…"


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body) if len(body) > MAX_BYTES_TOO_DEEP else loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReviewError(f"it is no JSON, or nests too deep: {error}"[:200]) from error
    return _mapping(parsed, "the body")


def _request(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    if (parsed.get("apiVersion"), parsed.get("kind")) != (API_VERSION, "AdmissionReview"):
        raise BadReviewError(f"it is no AdmissionReview of {API_VERSION}")
    return _mapping(parsed.get("request"), "request")


def _kind(request: Mapping[str, Any]) -> str:
    """Which of ours it is about: resource and kind must agree."""
    resource = _mapping(request.get("resource"), "request.resource")
    kind = _mapping(request.get("kind"), "request.kind")
    plural = resource.get("resource")
    known = REVIEWED.get(plural) if isinstance(plural, str) else None
    if known is None or resource.get("group") != keys.GROUP or request.get("subResource"):
        raise BadReviewError(
            f"request.resource is {plural!r:.60}; expected one of {', '.join(REVIEWED)} of {keys.GROUP}"
        )
    if (resource.get("version"), kind.get("version")) != (keys.VERSION, keys.VERSION):
        raise BadReviewError(f"request.resource.version is {resource.get('version')!r:.40}; expected {keys.VERSION}")
    if (kind.get("group"), kind.get("kind")) != (keys.GROUP, known.kind):
        raise BadReviewError(f"request.kind is {kind.get('kind')!r:.60}; expected {known.kind}")
    return known.kind


def _object(request: Mapping[str, Any], field: str, kind: str) -> Mapping[str, Any]:
    obj = _mapping(request.get(field), f"request.{field}")
    if (obj.get("apiVersion"), obj.get("kind")) != (keys.API_VERSION, kind):
        raise BadReviewError(f"request.{field} is no {kind} of {keys.API_VERSION}")
    return obj


def _spec(obj: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    return _mapping(obj.get("spec"), f"request.{field}.spec")


def _namespace(request: Mapping[str, Any], obj: Mapping[str, Any]) -> str:
    namespace = request.get("namespace")
    if not isinstance(namespace, str) or not NAME.fullmatch(namespace):
        raise BadReviewError("request.namespace is no namespace")
    if _mapping(obj.get("metadata"), "request.object.metadata").get("namespace", namespace) != namespace:
        raise BadReviewError("request.object is of another namespace than the request")
    return namespace


def _name(request: Mapping[str, Any], obj: Mapping[str, Any]) -> str:
    name = request.get("name") or ""
    stored = obj["metadata"].get("name") or name
    if not isinstance(name, str) or (name and (not NAME.fullmatch(name) or name != stored)):
        raise BadReviewError("request.name is not that of request.object")
    return name


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadReviewError(f"{what} is no object")
    return value
