"""The programs in Go that benchmarks need beside us."""

from __future__ import annotations

from pathlib import Path

from tests.gotools import Tool

HERE = Path(__file__).parent
KWOK = Tool("kwok", HERE / "kwok", "sigs.k8s.io/kwok", "sigs.k8s.io/kwok/cmd/kwok")
ARGO = Tool(
    "workflow-controller",
    HERE / "peers" / "argo",
    "github.com/argoproj/argo-workflows/v3",
    "github.com/argoproj/argo-workflows/v3/cmd/workflow-controller",
    keep="manifests/base/crds/minimal",
)
