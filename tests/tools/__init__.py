"""
The programs in Go that tests call: `provide(HELM, progress).program`. A folder each names the version.

They are built once and kept in the user's cache (`tests.gotools`).
"""

from __future__ import annotations

from pathlib import Path

from tests.gotools import Tool

HERE = Path(__file__).parent
HELM = Tool("helm", HERE / "helm", "helm.sh/helm/v3", "helm.sh/helm/v3/cmd/helm")
KUBECONFORM = Tool(
    "kubeconform", HERE / "kubeconform", "github.com/yannh/kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"
)
PROMTOOL = Tool(
    "promtool", HERE / "promtool", "github.com/prometheus/prometheus", "github.com/prometheus/prometheus/cmd/promtool"
)
