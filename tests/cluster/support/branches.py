"""Values of the chart, by the branches of its templates that they reach."""

from __future__ import annotations

from typing import Any, Final

POD: Final[dict[str, Any]] = {
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "system", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "podAnnotations": {"note": "x"},
    "podLabels": {"team": "data"},
    "extraEnv": [{"name": "PGSSLMODE", "value": "verify-full"}],
    "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
}
"""All that the values may add to pods."""

BRANCHES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "namespaces": {"operator": {"namespaces": ["team-a", "team-b"]}},
    "namespaces with policies": {"operator": {"namespaces": ["team-a"]}, "policies": {"forServedNamespaces": True}},
    "one replica": {"operator": {"replicas": 1}},
    "SQLite": {"operator": {"replicas": 1}, "history": {"store": "SQLite", "sqlite": {"storageClassName": "fast"}}},
    "SQLite on a claim": {
        "operator": {"replicas": 1},
        "history": {"store": "SQLite", "sqlite": {"existingClaim": "x"}},
    },
    "PostgreSQL": {"history": {"store": "PostgreSQL", "postgresql": {"url": "postgresql://u@db/h"}}},
    "PostgreSQL by Secrets": {
        "history": {
            "store": "PostgreSQL",
            "postgresql": {"urlSecret": {"name": "db"}, "passwordSecret": {"name": "pw"}},
        }
    },
    "no probes, no metrics": {
        "settings": {"livenessPort": 0, "metricsPort": 0},
        "networkPolicy": {"enabled": True},
    },
    "API priority": {"apiPriority": {"enabled": True}},
    "webhook": {"webhook": {"enabled": True}, "networkPolicy": {"enabled": True}},
    "inbound requests": {"settings": {"inboundPort": 8082}, "networkPolicy": {"enabled": True}},
    "dashboard": {"dashboard": {"enabled": True}},
    "dashboard behind a proxy": {"dashboard": {"enabled": True, "auth": "header", "proxySecret": {"name": "proxy"}}},
    "policies off": {"policies": {"enabled": False}},
    "network policy": {
        "networkPolicy": {
            "enabled": True,
            "egress": [{"ports": [{"port": 5432}]}],
            "ingress": [{"from": [{"namespaceSelector": {}}]}],
        }
    },
    "dashboards": {"metrics": {"dashboards": {"enabled": True, "annotations": {"folder": "headrace"}}}},
    "given account": {
        "serviceAccount": {"create": False, "name": "given"},
        "rbac": {"create": False, "userRoles": False},
    },
    "annotated": {
        "commonLabels": {"team": "data"},
        "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "a@b"}},
        "metrics": {"service": {"annotations": {"a": "b"}}},
        "rbac": {"aggregateToBuiltIn": False},
    },
    "everything of a pod": {
        "imagePullSecrets": [{"name": "registry"}],
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "operator": {**POD, "topologySpread": []},
        "dashboard": {**POD, "enabled": True, "replicas": 2, "settings": {"pageSize": 20, "secureCookie": False}},
    },
}
