"""What comes in as a review: ours are read, and what is forged, malformed or too deep is refused without harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace_operator.admission.review import (
    MAX_BYTES_TOO_DEEP,
    MOST_WARNINGS,
    WARNING_LIMIT,
    BadReviewError,
    Verdict,
    answer,
    review_from,
)

Body = dict[str, Any]


def a_review(**changes: Any) -> Body:
    """As the API server sends one for a new FlowRun; `changes` are to its request."""
    obj = {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "FlowRun",
        "metadata": {"name": "now", "namespace": "team-a"},
        "spec": {"flowRef": {"name": "etl"}},
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "headrace.dev", "version": "v1alpha1", "kind": "FlowRun"},
        "resource": {"group": "headrace.dev", "version": "v1alpha1", "resource": "flowruns"},
        "name": "now",
        "namespace": "team-a",
        "operation": "CREATE",
        "userInfo": {"username": "alice"},
        "object": obj,
        "oldObject": None,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {**request, **changes}}


def test_a_review_of_the_api_server_is_read():
    """Its parts are those that the verdict rests on."""
    review = review_from(json.dumps(a_review()).encode())

    assert (review.kind, review.namespace, review.name, review.user) == ("FlowRun", "team-a", "now", "alice")
    assert review.spec == {"flowRef": {"name": "etl"}}
    assert review.old is None


def test_an_update_carries_what_is_stored():
    """So that what was wrong before can be told apart."""
    stored = {**a_review()["request"]["object"], "spec": {"flowRef": {"name": "before"}}}

    review = review_from(json.dumps(a_review(operation="UPDATE", oldObject=stored)).encode())

    assert review.old == {"flowRef": {"name": "before"}}


def test_a_name_may_be_the_api_servers_to_make_up():
    """`generateName` leaves the request without one."""
    obj = {**a_review()["request"]["object"], "metadata": {"generateName": "now-", "namespace": "team-a"}}

    assert review_from(json.dumps(a_review(name=None, object=obj)).encode()).name == ""


def _of_object(**changes: Any) -> Body:
    return a_review(object={**a_review()["request"]["object"], **changes})


def _of_kind(kind: str, plural: str, *, group: str = "headrace.dev", version: str = "v1alpha1") -> Body:
    return a_review(
        kind={"group": group, "version": version, "kind": kind},
        resource={"group": group, "version": version, "resource": plural},
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, "no AdmissionReview", id="an empty object"),
        pytest.param([1], "the body is no object", id="a list"),
        pytest.param({**a_review(), "kind": "ConversionReview"}, "no AdmissionReview", id="another kind of review"),
        pytest.param(
            {**a_review(), "apiVersion": "admission.k8s.io/v1beta1"}, "no AdmissionReview", id="an old version"
        ),
        pytest.param({**a_review(), "request": "x"}, "request is no object", id="a request that is a text"),
        pytest.param(a_review(uid=None), "request.uid", id="no uid"),
        pytest.param(a_review(uid="../../x"), "request.uid", id="a uid with a path in it"),
        pytest.param(a_review(uid="a" * 65), "request.uid", id="a long uid"),
        pytest.param(a_review(uid={"a": 1}), "request.uid", id="a uid that is an object"),
        pytest.param(a_review(operation="DELETE"), "request.operation", id="an operation that is not asked about"),
        pytest.param(a_review(operation=["CREATE"]), "request.operation", id="an operation that is a list"),
        pytest.param(a_review(subResource="status"), "request.resource", id="a write of a status"),
        pytest.param(_of_kind("Pod", "pods", group=""), "request.resource", id="another kind of object"),
        pytest.param(_of_kind("FlowRun", "flowruns", group="example.com"), "request.resource", id="of another group"),
        pytest.param(_of_kind("FlowRun", "flowruns", version="v9"), "version", id="a version that is not served"),
        pytest.param(_of_kind("Flow", "flowruns"), "request.kind", id="kind and resource that disagree"),
        pytest.param(a_review(resource={"resource": ["flowruns"]}), "request.resource", id="a resource that is a list"),
        pytest.param(a_review(object=None), "request.object", id="no object"),
        pytest.param(_of_object(kind="Flow"), "no FlowRun", id="an object of another kind"),
        pytest.param(_of_object(apiVersion="v1"), "no FlowRun", id="an object of another version"),
        pytest.param(_of_object(spec=None), "spec is no object", id="an object without a spec"),
        pytest.param(_of_object(metadata=None), "metadata is no object", id="an object without metadata"),
        pytest.param(
            _of_object(metadata={"name": "now", "namespace": "team-b"}), "another namespace", id="another team's object"
        ),
        pytest.param(a_review(namespace="../kube-system"), "request.namespace", id="a namespace with a path in it"),
        pytest.param(a_review(namespace=7), "request.namespace", id="a namespace that is a number"),
        pytest.param(a_review(name="other"), "request.name", id="another name than the object's"),
        pytest.param(a_review(name="a/b"), "request.name", id="a name with a path in it"),
        pytest.param(a_review(userInfo=[]), "request.userInfo", id="a user that is a list"),
        pytest.param(a_review(operation="UPDATE"), "request.oldObject", id="an update of nothing"),
    ],
)
def test_what_is_forged_is_refused(body: Any, expected: str):
    """With a sentence that says what does not agree."""
    with pytest.raises(BadReviewError, match=expected) as refused:
        review_from(json.dumps(body).encode())

    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 10_000, b'{"a":' * 100_000],
    ids=["none", "cut off", "binary", "deep", "deeper"],
)
def test_what_is_no_json_is_refused(body: bytes):
    """However deep it goes."""
    with pytest.raises(BadReviewError):
        review_from(body)


def _nested(levels: int, more: int = 0) -> bytes:
    """A run whose parameters nest that deep, and carry that many bytes beside."""
    whole = json.dumps(_of_object(spec={"parameters": {"deep": "HERE", "more": "x" * more}}))
    return whole.replace('"HERE"', "[" * levels + "]" * levels).encode()


def test_parameters_that_nest_too_deep_are_read_as_far_as_they_can_be():
    """So their author is told that they do, instead of nothing."""
    review = review_from(_nested(5_000))

    assert "left out" in json.dumps(review.spec)


def test_a_large_body_that_nests_too_deep_is_not_cut_by_hand():
    """That would take a second of everybody's time."""
    with pytest.raises(BadReviewError, match="nests too deep"):
        review_from(_nested(5_000, more=MAX_BYTES_TOO_DEEP))


Answers = Callable[[Verdict], Any]


def _answered(verdict: Verdict) -> Any:
    return json.loads(answer(review_from(json.dumps(a_review()).encode()), verdict))["response"]


def test_the_answer_has_the_uid_of_the_question():
    """The API server takes no other."""
    assert _answered(Verdict()) == {"uid": a_review()["request"]["uid"], "allowed": True}


def test_a_refusal_says_why():
    """As the API server's own refusals do."""
    assert _answered(Verdict(problem="spec.cron: no"))["status"] == {
        "code": 422,
        "reason": "Invalid",
        "message": "spec.cron: no",
    }


def test_warnings_are_few_short_and_of_one_line():
    """A header of HTTP carries each."""
    told = _answered(Verdict(warnings=("a\nb", *["x" * 5_000] * 50)))["warnings"]

    assert told[0] == "a b"
    assert len(told) == MOST_WARNINGS
    assert max(map(len, told)) == WARNING_LIMIT
