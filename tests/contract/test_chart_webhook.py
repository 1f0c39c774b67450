"""The chart's webhook: what the operator expects of it, and no right beyond that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from headrace_operator.admission.keeping import Place
from headrace_operator.settings import load_settings
from tests.cluster.support.helm import NAMESPACE, Helm, environment, names, only, provided
from tests.cluster.support.schemas import strict
from tests.cluster.support.webhook import NAME, configuration_rules, secret_rules, webhooks
from tests.tools import CERT_MANAGER

pytestmark = pytest.mark.timeout(1200)
"""Helm may have to be built first."""

USER = f"system:serviceaccount:{NAMESPACE}:headrace-operator"


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def served(helm: Helm) -> list[dict[str, Any]]:
    """With a certificate of the operator's own."""
    return helm.template("--set=webhook.enabled=true,networkPolicy.enabled=true")


def test_nothing_of_it_is_made_unless_it_is_asked_for(helm: Helm):
    """It is optional."""
    manifests = helm.template()

    assert names(manifests, "ValidatingWebhookConfiguration") == []
    assert load_settings(environment(only(manifests, "Deployment"), metadata_namespace=NAMESPACE)).webhook_port == 0


def test_what_the_api_server_asks_is_what_the_tests_on_a_real_one_have_asked(served: list[dict[str, Any]]):
    """Rules, conditions, and that objects pass when nobody answers."""
    configuration = only(served, "ValidatingWebhookConfiguration")

    assert configuration["webhooks"] == webhooks(NAMESPACE, USER)


def test_the_operator_finds_what_the_chart_has_made(served: list[dict[str, Any]]):
    """By the names of its settings."""
    deployment = only(served, "Deployment")
    settings = load_settings(environment(deployment, metadata_namespace=NAMESPACE))
    place = Place(settings.operator_namespace, settings.webhook_name, is_own=settings.webhook_certificate == "own")

    assert only(served, "ValidatingWebhookConfiguration")["metadata"]["name"] == place.configuration
    assert only(served, "Secret", place.name).get("data") is None
    (port,) = only(served, "Service", place.name)["spec"]["ports"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": settings.webhook_port} in container["ports"]
    assert {"ports": [{"port": settings.webhook_port}]} in only(served, "NetworkPolicy")["spec"]["ingress"]
    assert place.is_own


def test_its_rights_are_for_two_objects_by_name(served: list[dict[str, Any]]):
    """Those that the tests on a real API server have."""
    assert only(served, "Role", NAME)["rules"] == secret_rules("list", "watch", "patch")
    assert only(served, "ClusterRole", f"{NAME}.{NAMESPACE}")["rules"] == configuration_rules(NAMESPACE)


def test_a_certificate_of_cert_manager_is_only_read(helm: Helm):
    """It tells the API server whom to believe, by an annotation."""
    manifests = helm.template("--set=webhook.enabled=true,webhook.certificate=CertManager")
    settings = load_settings(environment(only(manifests, "Deployment"), metadata_namespace=NAMESPACE))
    certificate = only(manifests, "Certificate")

    assert settings.webhook_certificate == "given"
    assert names(manifests, "Secret") == []
    assert certificate["spec"]["secretName"] == settings.webhook_name
    assert certificate["spec"]["dnsNames"] == list(Place(NAMESPACE, settings.webhook_name, is_own=False).dns_names)
    assert certificate["spec"]["issuerRef"] == {"kind": "Issuer", "name": only(manifests, "Issuer")["metadata"]["name"]}
    assert only(manifests, "Role", NAME)["rules"] == secret_rules("list", "watch")
    injected = only(manifests, "ValidatingWebhookConfiguration")["metadata"]["annotations"]
    assert injected == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{certificate['metadata']['name']}"}


def test_an_issuer_of_the_cluster_is_taken_where_one_is_named(helm: Helm):
    """And none is made beside it."""
    manifests = helm.template(
        "--set=webhook.enabled=true,webhook.certificate=CertManager",
        "--set=webhook.certManager.issuerRef.kind=ClusterIssuer,webhook.certManager.issuerRef.name=company",
    )

    assert only(manifests, "Certificate")["spec"]["issuerRef"] == {"kind": "ClusterIssuer", "name": "company"}
    assert names(manifests, "Issuer") == []


def test_chosen_namespaces_and_a_webhook_do_not_go_together(helm: Helm):
    """It needs rights that span the cluster."""
    assert "webhook.enabled: is true" in helm.refusal("--set=webhook.enabled=true", "--set=operator.namespaces={a}")


@pytest.mark.parametrize(
    "issuer", [(), ("--set=webhook.certManager.issuerRef.kind=ClusterIssuer,webhook.certManager.issuerRef.name=x",)]
)
def test_cert_manager_knows_what_it_is_asked_for(helm: Helm, issuer: tuple[str, ...]):
    """By its own definitions, from the schema that the API server would hold the objects to; a field too many is found."""
    manifests = helm.template("--set=webhook.enabled=true,webhook.certificate=CertManager", *issuer)
    asked = [each for each in manifests if each["apiVersion"] == "cert-manager.io/v1"]

    assert {each["kind"] for each in asked} == ({"Certificate"} if issuer else {"Issuer", "Certificate"})
    assert [each for each in asked if complaints(each)] == []
    certificate = only(manifests, "Certificate")
    certificate["spec"]["dnsName"] = "x"
    assert "dnsName" in complaints(certificate)[0]


def complaints(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with an object of cert-manager's."""
    provided(CERT_MANAGER)
    definition = yaml.safe_load((CERT_MANAGER.kept / f"cert-manager.io_{manifest['kind'].lower()}s.yaml").read_text())
    (version,) = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"].pop("metadata")  # which the API server knows better
    checked = {key: value for key, value in manifest.items() if key != "metadata"}
    return [error.message for error in Draft202012Validator(strict(schema)).iter_errors(checked)]
