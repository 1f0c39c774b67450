"""The chart: every value is described and does something, what is made from it is current, and no right is written down twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.generate import DASHBOARD_SET_BY_THE_CHART, SET_BY_THE_CHART, camel, current_schema, generated_files
from headrace.api.crd import custom_resource_definitions
from headrace_dashboard.settings import Settings as DashboardSettings
from headrace_dashboard.settings import load_settings as load_dashboard_settings
from headrace_operator.settings import Settings, load_settings
from tests.cluster.support.branches import BRANCHES, POD
from tests.cluster.support.helm import CHART, NAMESPACE, OLDEST, Helm, environment, names, only

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = {path.relative_to(CHART): path.read_text() for path in (CHART / "templates").rglob("*.*")}
AUDITED = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
MONITORING = "--api-versions=monitoring.coreos.com/v1"

pytestmark = pytest.mark.timeout(1200)
"""Helm may have to be built first."""


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def defaults(helm: Helm) -> list[dict[str, Any]]:
    """What the chart makes of its defaults."""
    return helm.template()


def leaves(schema: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, schema and default of each value."""
    for name, value in values.items():
        field = schema["properties"][name]
        if "properties" in field:
            yield from leaves(field, value, f"{path}{name}.")
        else:
            yield f"{path}{name}", field, value


LEAVES = {path: (field, value) for path, field, value in leaves(SCHEMA, VALUES)}


def objects_of(schema: Mapping[str, Any], values: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, schema and default of each group of values, that of all included."""
    if "properties" in schema:
        yield path or "(all)", schema, values
        for name, field in schema["properties"].items():
            if name != "global":
                yield from objects_of(field, values.get(name, {}), f"{path}.{name}".lstrip("."))


def test_what_is_generated_is_current():
    """If this fails, run `make manifests`."""
    stale = [str(path.relative_to(ROOT)) for path, text in generated_files().items() if path.read_text() != text]
    assert stale == []


@pytest.mark.parametrize(("path", "field", "values"), list(objects_of(SCHEMA, VALUES)))
def test_a_value_that_does_not_exist_is_refused_and_each_that_exists_has_a_default(path, field, values):
    assert field["additionalProperties"] is False, path
    assert set(field["properties"]) - {"global"} == set(values), path


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_is_described_and_read(path):
    """By a template: as a whole path, or as a part of one that is read as a whole."""
    field, _ = LEAVES[path]
    assert field["description"].strip(), path
    parent, _, name = path.rpartition(".")
    text = "".join(TEMPLATES.values())
    assert re.search(rf"\.{name}\b", text) or (parent == "settings" and "range $setting, $value" in text), path


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in SET_BY_THE_CHART])
def test_a_setting_of_the_operator_is_a_value_with_the_same_default(name):
    """If this fails, add it to `settings` in values.yaml and run `make manifests`."""
    default = Settings.model_fields[name].default
    assert VALUES["settings"][camel(name)] == default
    assert camel(name) in current_schema()["properties"]["settings"]["properties"]


def test_what_the_chart_sets_by_itself_are_settings():
    assert set(SET_BY_THE_CHART) <= set(Settings.model_fields)
    assert set(DASHBOARD_SET_BY_THE_CHART) <= set(DashboardSettings.model_fields)


@pytest.mark.parametrize("name", DashboardSettings.model_fields)
def test_a_setting_of_the_dashboard_is_given_once(helm, name):
    """By a value of its own, or among `dashboard.settings`."""
    default = json.dumps(DashboardSettings.model_fields[name].default)
    options = ("--set=dashboard.enabled=true", f"--set-json=dashboard.settings.{camel(name)}={default}")
    if name in DASHBOARD_SET_BY_THE_CHART:
        assert f"'{camel(name)}' not allowed" in helm.refusal(*options)
    else:
        given = environment(only(helm.template(*options), "Deployment", "headrace-dashboard"))
        assert f"HEADRACE_DASHBOARD_{name.upper()}" in given
        assert load_dashboard_settings(given) == DashboardSettings(host="*")


def test_the_dashboard_listens_on_all_addresses_and_understands_all_that_it_is_given(helm):
    """In a cluster of IPv6 alone too."""
    settings = "--set=dashboard.enabled=true,dashboard.port=9000,dashboard.settings.pageSize=7"
    given = environment(only(helm.template(settings), "Deployment", "headrace-dashboard"))
    assert load_dashboard_settings(given) == DashboardSettings(host="*", port=9000, page_size=7)


def test_the_operator_understands_all_that_it_is_given(defaults):
    """With the defaults of the chart it has those of its own."""
    given = environment(only(defaults, "Deployment"), metadata_namespace=NAMESPACE)
    unknown = {name for name in given if name.removeprefix("HEADRACE_").lower() not in Settings.model_fields}
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    expected = {"operator_namespace": NAMESPACE, "default_image": f"headrace/runtime:{version}"}
    assert unknown == set()
    assert load_settings(given) == Settings(**{**expected, "identity": load_settings(given).identity})


def test_the_dashboard_reads_the_history_as_its_own_user_or_as_the_operator(helm):
    """And may reach the database, where policies say who reaches what."""
    options = ("--set=dashboard.enabled=true", "--set=dashboard.history.enabled=true", "--set=history.store=PostgreSQL")
    options += ("--set=history.postgresql.url=postgresql://headrace@db/headrace", "--set=networkPolicy.enabled=true")
    options += ("--set=history.postgresql.passwordSecret.name=of-the-operator",)
    options += ('--set-json=networkPolicy.egress=[{"ports":[{"port":5432}]}]',)
    name = "headrace-dashboard"

    def given(*more):
        manifests = helm.template(*options, *more)
        (container,) = only(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        return manifests, {each["name"]: each.get("value") or each["valueFrom"] for each in container["env"]}

    manifests, shared = given()
    assert shared["HEADRACE_DASHBOARD_HISTORY_URL"] == "postgresql://headrace@db/headrace"
    assert shared["HEADRACE_HISTORY_PASSWORD"] == {"secretKeyRef": {"name": "of-the-operator", "key": "password"}}
    assert {"ports": [{"port": 5432}]} in only(manifests, "NetworkPolicy", name)["spec"]["egress"]
    _, own = given("--set=dashboard.history.urlSecret.name=a", "--set=dashboard.history.passwordSecret.name=b")
    assert own["HEADRACE_DASHBOARD_HISTORY_URL"] == {"secretKeyRef": {"name": "a", "key": "url"}}
    assert own["HEADRACE_HISTORY_PASSWORD"] == {"secretKeyRef": {"name": "b", "key": "password"}}


def test_large_numbers_reach_the_operator_as_they_are(helm):
    """Not as 2.592e+06."""
    manifests = helm.template("--set=settings.orphanTtlS=2592000", "--set-json=settings.statusDelayS=0.5")
    given = environment(only(manifests, "Deployment"), metadata_namespace=NAMESPACE)
    assert (given["HEADRACE_ORPHAN_TTL_S"], given["HEADRACE_STATUS_DELAY_S"]) == ("2592000", "0.5")


def test_lint_finds_nothing(helm):
    done = helm.call("lint", "--strict", OLDEST, str(CHART))
    assert "0 chart(s) failed" in done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set=history.store=SQLite"], "operator.replicas: is 2, but history.store is SQLite"),
        (["--set=history.store=PostgreSQL"], "set history.postgresql.url"),
        (["--set=operator.namespaces={a}", "--set=settings.shards=4"], "one namespace cannot be spread"),
        (["--set=operator.namespaces={a}", "--set=dashboard.enabled=true"], "dashboard.enabled: is true"),
        (
            ["--set=dashboard.enabled=true", "--set=dashboard.history.enabled=true"],
            "dashboard.history.enabled: is true, but history.store is not PostgreSQL",
        ),
        (["--set=serviceAccount.create=false"], "serviceAccount.name: is empty"),
        (
            ["--set=metrics.service.enabled=false", "--set=metrics.monitor.create=Always"],
            "set metrics.monitor.kind=PodMonitor",
        ),
        (
            [
                "--set=history.store=SQLite",
                "--set=operator.replicas=1",
                "--set=operator.namespaces={a,b}",
                "--set=history.sqlite.existingClaim=mine",
            ],
            "each operator needs a volume of its own",
        ),
        (["--set=operator.namespaces={a}", "--set=apiPriority.enabled=true"], "apiPriority.enabled: is true"),
        (
            ["--set=apiPriority.enabled=true,apiPriority.queues=3"],
            "apiPriority.handSize: is 4, but apiPriority.queues is 3",
        ),
        (["--set=apiPriority.matchingPrecedence=9000"], "matchingPrecedence"),
        (["--set=dashboard.settings.pagesize=7"], "pagesize"),
        (["--set=dashboard.settings.pageSize=0"], "pageSize"),
        (["--set=settings.shards=0"], "shards"),
        (["--set=settings.logLevel=loud"], "logLevel"),
        (["--set=operator.replica=3"], "replica"),
        (["--set=history.store=MySQL"], "store"),
    ],
)
def test_values_that_cannot_work_are_refused_and_named(helm, options, expected):
    """Before anything is applied."""
    assert expected in helm.refusal(*options)


def test_rights_come_from_the_one_file(defaults):
    """For all namespaces a ClusterRole, for the operator's own a Role."""
    rules = yaml.safe_load((CHART / "files" / "operator-rules.yaml").read_text())
    assert set(rules) == {"cluster", "namespaced", "operatorNamespace"}
    assert (
        only(defaults, "ClusterRole", f"headrace-operator.{NAMESPACE}")["rules"]
        == rules["cluster"] + rules["namespaced"]
    )
    assert only(defaults, "Role", "headrace-operator-leases")["rules"] == rules["operatorNamespace"]
    assert all("*" not in rule[part] for each in rules.values() for rule in each for part in ("verbs", "resources"))


def test_chosen_namespaces_need_no_right_that_spans_the_cluster(helm):
    """A person who may not touch the cluster itself can install it."""
    options = ("--set=operator.namespaces={team-a,team-b}", "--set=crds.install=false", "--set=rbac.userRoles=false")
    manifests = helm.template(*options)
    rules = yaml.safe_load((CHART / "files" / "operator-rules.yaml").read_text())
    assert [m["kind"] for m in manifests if "namespace" not in m["metadata"]] == []
    assert names(manifests, "Deployment") == ["headrace-operator-team-a", "headrace-operator-team-b"]
    for namespace in ("team-a", "team-b"):
        deployment = only(manifests, "Deployment", f"headrace-operator-{namespace}")
        settings = load_settings(environment(deployment, metadata_namespace=NAMESPACE))
        assert (settings.namespace, settings.cluster_objects) == (namespace, "ignore")
        (role,) = [
            m
            for m in manifests
            if m["kind"] == "Role"
            and m["metadata"]["namespace"] == namespace
            and m["metadata"]["name"] == "headrace-operator"
        ]
        assert role["rules"] == rules["namespaced"]


def test_who_did_what_is_noted_where_the_cluster_can(helm):
    """By all but the operator, under its own name; an older cluster gets nothing that it does not know."""
    kind = "MutatingAdmissionPolicy"
    able = f"--api-versions=admissionregistration.k8s.io/v1/{kind}"
    policy = only(helm.template(able, "--set=serviceAccount.name=pilot"), kind)
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username != 'system:serviceaccount:{NAMESPACE}:pilot'"
    manifests = helm.template(able)
    text = json.dumps(only(helm.template(able, "--set=dashboard.enabled=true"), kind))
    assert f"'system:serviceaccount:{NAMESPACE}:headrace-dashboard'" in text
    account = only(manifests, "Deployment", "headrace-operator")["spec"]["template"]["spec"]["serviceAccountName"]
    assert f":{account}'" in only(manifests, kind)["spec"]["matchConditions"][0]["expression"]
    assert only(manifests, f"{kind}Binding")["spec"]["policyName"] == only(manifests, kind)["metadata"]["name"]
    for without in ((), (able, "--set=policies.audit=false"), (able, "--set=operator.namespaces={team-a}")):
        assert names(helm.template(*without), kind) == []


def test_the_operator_resumes_deployments_under_its_own_name(helm):
    """Whatever its ServiceAccount is called."""
    policy = only(
        helm.template("--set=serviceAccount.name=pilot"), "ValidatingAdmissionPolicy", f"headrace-resumes.{NAMESPACE}"
    )
    told = [each["expression"] for each in policy["spec"]["matchConditions"]]
    assert f"request.userInfo.username != 'system:serviceaccount:{NAMESPACE}:pilot'" in told


def test_the_role_that_reads_secrets_for_automations_is_there_whoever_makes_those_for_people(helm):
    """Under the name that the page binds, to the account that the page binds it to; not where nothing may span the cluster."""
    page = (ROOT / "docs" / "automations.md").read_text()
    (told,) = re.findall(r"--clusterrole (\S+)\s+--serviceaccount (\S+):(\S+)", page)
    made = helm.template("--set=rbac.userRoles=false")
    assert only(made, "ClusterRole", told[0])["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    ]
    assert only(made, "ServiceAccount", told[2])["metadata"]["namespace"] == told[1]
    chosen = ("--set=operator.namespaces={team-a}", "--set=rbac.userRoles={}")
    there = [
        told[0] in names(helm.template(chosen[0], chosen[1].format(each)), "ClusterRole") for each in ("true", "false")
    ]
    assert there == [True, False]
    assert told[0] not in names(helm.template("--set=rbac.userRoles=false,rbac.create=false"), "ClusterRole")


def test_the_example_for_argo_cd_has_the_names_of_the_documentation(helm, defaults):
    """Argo CD calls the release as its Application, unless that says otherwise."""
    application = yaml.safe_load((ROOT / "examples" / "gitops" / "apps" / "operator.yaml").read_text())
    source, target = application["spec"]["source"]["helm"], application["spec"]["destination"]["namespace"]
    release = source.get("releaseName", application["metadata"]["name"])
    values = [f"--set-json={key}={json.dumps(value)}" for key, value in source["valuesObject"].items()]
    done = helm.call("template", release, str(CHART), f"--namespace={target}", OLDEST, *values)
    shown = [each for each in yaml.safe_load_all(done.stdout) if each]
    kinds = {each["kind"] for each in defaults} - {"CustomResourceDefinition"}
    assert {kind: names(shown, kind) for kind in kinds} == {kind: names(defaults, kind) for kind in kinds}


def test_policies_of_chosen_namespaces_hold_there_and_nowhere_else(helm):
    """Each of those that a release for all namespaces has, but for slots, which such an operator does not know."""
    able = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
    chosen = ("--set=operator.namespaces={team-a,team-b}", "--set=policies.forServedNamespaces=true")
    kinds = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
    everywhere, there = helm.template(able), helm.template(able, *chosen)
    for kind in kinds:
        assert set(names(there, kind)) == set(names(everywhere, kind)) - {f"headrace-slots.{NAMESPACE}"}
        assert names(there, f"{kind}Binding") == names(there, kind)
    served = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}
    selectors = [m["spec"]["matchConstraints"]["namespaceSelector"] for m in there if m["kind"] in kinds]
    assert selectors == [{"matchExpressions": [served]}] * len(selectors)
    assert names(helm.template(able, *chosen, "--set=policies.enabled=false"), kinds[0]) == []


def test_slots_are_for_the_pods_that_the_values_name(helm):
    """And no right is given where others give them; the policy stays."""
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:team-a"}
    bindings = {"RoleBinding": "headrace-slots", "ClusterRoleBinding": f"headrace-slots.{NAMESPACE}"}
    for subjects in ([group], []):
        manifests = helm.template(f"--set-json=slots.subjects={json.dumps(subjects)}")
        for kind, name in bindings.items():
            assert only(manifests, kind, name)["subjects"] == subjects
    without = helm.template("--set=rbac.create=false")
    left = {each["kind"] for each in without if each["metadata"]["name"].startswith("headrace-slots")}
    assert left == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def test_operators_of_one_release_do_not_take_each_others_pods(helm):
    """Their selectors differ."""
    manifests = helm.template("--set=operator.namespaces={team-a,team-b}")
    for kind in ("Deployment", "PodDisruptionBudget"):
        picked = [json.dumps(m["spec"]["selector"]["matchLabels"]) for m in manifests if m["kind"] == kind]
        assert len(set(picked)) == 2, kind


def test_a_request_for_an_automation_reaches_the_operator_that_knows_it(helm):
    """One Service for all namespaces, or one for each; names of Services end at 63 characters."""
    (plain,) = hooks(helm.template("--set=settings.inboundPort=8081"))
    assert plain["metadata"]["name"] == "headrace-hooks"
    long = "t" * 63
    manifests = helm.template("--set=settings.inboundPort=8081", f"--set=operator.namespaces={{team-a,team-b,{long}}}")
    found = {each["spec"]["selector"]["headrace.dev/serves"]: each["metadata"]["name"] for each in hooks(manifests)}
    assert (found["team-a"], found["team-b"]) == ("headrace-hooks-team-a", "headrace-hooks-team-b")
    assert len(found[long]) <= 63
    for each in hooks(manifests):
        labels = [m["spec"]["template"]["metadata"]["labels"] for m in manifests if m["kind"] == "Deployment"]
        assert len([one for one in labels if each["spec"]["selector"].items() <= one.items()]) == 1


def hooks(manifests):
    return [m for m in manifests if m["kind"] == "Service" and "hooks" in m["metadata"]["name"]]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_metrics_are_scraped_where_the_cluster_can(helm, defaults, kind):
    """By what is asked for, and at the port that the pods have."""
    manifests = helm.template(
        MONITORING, f"--set=metrics.monitor.kind={kind}", "--set=metrics.monitor.labels.release=prometheus"
    )
    monitor = only(manifests, kind)
    spec = monitor["spec"]
    (endpoint,) = spec["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
    pod = only(manifests, "Deployment")["spec"]["template"]
    target = only(manifests, "Service", "headrace-metrics")["metadata"] if kind == "ServiceMonitor" else pod["metadata"]
    assert spec["selector"]["matchLabels"].items() <= target["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert endpoint["port"] in {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert names(defaults, kind) == []
    assert names(helm.template(MONITORING, "--set=metrics.monitor.create=Never"), "ServiceMonitor") == []


def test_dashboards_are_those_of_the_folder(helm):
    """As they are, whatever is in them."""
    manifests, boards = helm.template("--set=metrics.dashboards.enabled=true"), (CHART / "dashboards").glob("*.json")
    shown = {name: text for m in manifests if m["kind"] == "ConfigMap" for name, text in m["data"].items()}
    assert {name: json.loads(text) for name, text in shown.items() if name.endswith(".json")} == {
        path.name: json.loads(path.read_text()) for path in boards
    }


def test_a_history_in_a_file_has_a_volume_that_stays(helm):
    """One replica, and no second one beside it while it is replaced."""
    manifests = helm.template("--set=history.store=SQLite", "--set=operator.replicas=1")
    deployment, claim = only(manifests, "Deployment"), only(manifests, "PersistentVolumeClaim")
    pod = deployment["spec"]["template"]["spec"]
    url = environment(deployment, metadata_namespace=NAMESPACE)["HEADRACE_HISTORY_URL"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "history"]
    (volume,) = [v for v in pod["volumes"] if v["name"] == "history"]
    assert url == f"sqlite:///{mount['mountPath']}/history.db"
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert names(manifests, "PodDisruptionBudget") == []
    assert pod["securityContext"]["fsGroup"] == VALUES["history"]["sqlite"]["fsGroup"]


def test_a_password_comes_from_its_secret(helm):
    """And the URL too, if it is in one."""
    postgresql = (
        "--set=history.store=PostgreSQL,history.postgresql.passwordSecret.name=pw,history.postgresql.urlSecret.name=db"
    )
    (container,) = only(helm.template(postgresql), "Deployment")["spec"]["template"]["spec"]["containers"]
    sources = {each["name"]: each.get("valueFrom") for each in container["env"]}
    assert sources["HEADRACE_HISTORY_URL"] == {"secretKeyRef": {"name": "db", "key": "url"}}
    assert sources["HEADRACE_HISTORY_PASSWORD"] == {"secretKeyRef": {"name": "pw", "key": "password"}}


def test_a_digest_wins_over_a_tag_and_a_tag_over_the_version(helm):
    """For the operator, its check, and the flows."""
    digest = "sha256:" + "a" * 64
    manifests = helm.template(
        f"--set=image.digest={digest},image.tag=v9,runtimeImage.tag=v9,runtimeImage.repository=eu.example/run"
    )
    deployment, check = only(manifests, "Deployment"), only(manifests, "Pod")
    images = {pod["containers"][0]["image"] for pod in (deployment["spec"]["template"]["spec"], check["spec"])}
    assert images == {f"headrace/operator@{digest}"}
    given = environment(deployment, metadata_namespace=NAMESPACE)
    assert given["HEADRACE_DEFAULT_IMAGE"] == "eu.example/run:v9"


def test_the_probes_and_ports_are_those_that_the_operator_listens_at(helm):
    """Without a port there is no probe, which could not but fail."""
    (container,) = only(helm.template("--set=settings.livenessPort=8181"), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probed = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert ports == {"health": 8181, "metrics": VALUES["settings"]["metricsPort"]}
    assert probed["livenessProbe"] == probed["startupProbe"] == {"path": "/healthz", "port": "health"}
    assert probed["readinessProbe"] == {"path": "/readyz", "port": "health"}
    without = helm.template("--set=settings.livenessPort=0,settings.metricsPort=0,networkPolicy.enabled=true")
    (container,) = only(without, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert not {"startupProbe", "livenessProbe", "readinessProbe", "ports"} & container.keys()
    assert "headrace-metrics" not in names(without, "Service")


def test_the_network_policy_lets_through_what_the_operator_needs(helm, defaults):
    """DNS and the API server, and what the values add."""
    policy = only(
        helm.template("--set=networkPolicy.enabled=true", "--set=networkPolicy.egress[0].ports[0].port=5432"),
        "NetworkPolicy",
    )
    pod = only(defaults, "Deployment")["spec"]["template"]
    opened = [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert opened == [[53, 53], [443, 6443], [5432]]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert names(defaults, "NetworkPolicy") == []


def test_the_operator_has_levels_of_the_api_server_where_it_is_asked_for(helm, defaults):
    """One for Leases, which lends nothing and is found first, one for all else; requests wait by namespace, as there is one user."""
    options = ("--set=apiPriority.enabled=true,apiPriority.matchingPrecedence=500", "--set=serviceAccount.name=pilot")
    manifests = helm.template(*options)
    leases, others = f"headrace-operator-leases.{NAMESPACE}", f"headrace-operator.{NAMESPACE}"
    found = {each: only(manifests, "FlowSchema", each)["spec"] for each in (leases, others)}
    levels = {each: only(manifests, "PriorityLevelConfiguration", each)["spec"]["limited"] for each in found}
    assert {each: spec["priorityLevelConfiguration"]["name"] for each, spec in found.items()} == {e: e for e in levels}
    assert {each: spec["matchingPrecedence"] for each, spec in found.items()} == {leases: 499, others: 500}
    assert {each: level["lendablePercent"] for each, level in levels.items()} == {leases: 0, others: 50}
    assert [levels[each]["nominalConcurrencyShares"] for each in (leases, others)] == [5, 10]
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": NAMESPACE, "name": "pilot"}}
    rules = {each: rule for each, spec in found.items() for rule in spec["rules"]}
    assert [rule["subjects"] for rule in rules.values()] == [[account], [account]]
    assert {spec["distinguisherMethod"]["type"] for spec in found.values()} == {"ByNamespace"}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    held = {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": [NAMESPACE]}
    assert {each: rule["resourceRules"] for each, rule in rules.items()} == {leases: [held], others: [everything]}
    assert names(defaults, "FlowSchema") == names(defaults, "PriorityLevelConfiguration") == []


def test_people_have_rights_to_every_kind(defaults):
    """Also to those that come later."""
    edit, admin = (only(defaults, "ClusterRole", f"headrace-{role}")["rules"] for role in ("edit", "admin"))
    writable = {
        role: {each for rule in rules if "create" in rule["verbs"] for each in rule["resources"]}
        for role, rules in (("edit", edit), ("admin", admin))
    }
    crds = [crd["spec"] for crd in custom_resource_definitions()]
    assert writable["edit"] == {spec["names"]["plural"] for spec in crds if spec["scope"] == "Namespaced"}
    assert writable["admin"] == {spec["names"]["plural"] for spec in crds}


def test_what_people_may_do_grows_from_view_to_admin(defaults):
    """And none of them may write a status, which is the operator's."""

    def rights(role: str) -> set[tuple[str, str]]:
        rules = only(defaults, "ClusterRole", f"headrace-{role}")["rules"]
        return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}

    view, edit, admin = map(rights, ("view", "edit", "admin"))
    assert view < edit < admin
    assert {verb for _, verb in view} == {"get", "list", "watch"}
    assert ("flows", "create") in edit
    assert ("workpools", "update") in admin - edit
    assert not [resource for resource, _ in admin if resource.endswith("/status")]


@pytest.mark.parametrize("whose", ["operator", "dashboard"])
@pytest.mark.parametrize("option", ["commonLabels", "{}.podLabels"])
def test_labels_of_the_values_do_not_change_what_is_selected(helm, option, whose):
    """A selector cannot be changed by an upgrade."""
    shown = ("--set=dashboard.enabled=true", f"--set={option.format(whose)}.team=data")
    before, after = (only(helm.template(*each), "Deployment", f"headrace-{whose}") for each in (shown[:1], shown))
    assert after["spec"]["template"]["metadata"]["labels"]["team"] == "data"
    assert after["spec"]["selector"] == before["spec"]["selector"]


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_object_has_the_labels_of_the_chart_and_those_of_the_values(helm, tmp_path, branch):
    """Definitions aside, which may outlive the release."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({**BRANCHES[branch], "commonLabels": {"team": "data"}}))
    made = [
        m for m in helm.template(f"--values={file}", MONITORING, AUDITED) if m["kind"] != "CustomResourceDefinition"
    ]
    given = {"app.kubernetes.io/part-of": "headrace", "app.kubernetes.io/instance": "headrace", "team": "data"}
    labels = {f"{m['kind']} {m['metadata']['name']}": m["metadata"].get("labels", {}) for m in made}
    assert [name for name, each in labels.items() if not given.items() <= each.items()] == []
    assert [
        name for name, each in labels.items() if not {"app.kubernetes.io/component", "helm.sh/chart"} <= each.keys()
    ] == []


@pytest.mark.parametrize("whose", ["operator", "dashboard"])
def test_what_the_values_add_to_the_pods_is_in_them(helm, tmp_path, whose):
    """Each optional branch of the template."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"dashboard": {"enabled": True}, "imagePullSecrets": [{"name": "registry"}]}))
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({whose: POD}))
    manifests = helm.template(f"--values={file}", f"--values={more}")
    template = only(manifests, "Deployment", f"headrace-{whose}")["spec"]["template"]
    pod, (container,) = template["spec"], template["spec"]["containers"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    placed = ("priorityClassName", "nodeSelector", "tolerations", "affinity")
    assert [pod[key] for key in placed] == [POD[key] for key in placed]
    assert template["metadata"]["annotations"]["note"] == "x"
    assert template["metadata"]["labels"]["team"] == "data"
    assert POD["extraEnv"][0] in container["env"]
    assert container["envFrom"] == POD["extraEnvFrom"]
    assert POD["extraVolumes"][0] in pod["volumes"]
    assert POD["extraVolumeMounts"][0] in container["volumeMounts"]


def test_an_account_that_exists_is_taken(helm):
    """And none is made."""
    manifests = helm.template("--set=serviceAccount.create=false,serviceAccount.name=given")
    assert only(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "given"
    assert "given" not in names(manifests, "ServiceAccount")


@pytest.mark.parametrize("whose", ["operator", "dashboard"])
def test_two_replicas_are_spread_and_a_drain_takes_one_at_a_time(helm, whose):
    """Of the component itself; one alone is in nobody's way."""
    name = f"headrace-{whose}"
    one, two = (helm.template("--set=dashboard.enabled=true", f"--set={whose}.replicas={count}") for count in (1, 2))
    assert name not in names(one, "PodDisruptionBudget")
    budget, deployment = only(two, "PodDisruptionBudget", name), only(two, "Deployment", name)
    selector = deployment["spec"]["selector"]
    assert budget["spec"] == {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["labelSelector"]) == ("kubernetes.io/hostname", selector)
    without = helm.template(
        "--set=dashboard.enabled=true,podDisruptionBudget.enabled=false", f"--set={whose}.replicas=2"
    )
    assert names(without, "PodDisruptionBudget") == []
