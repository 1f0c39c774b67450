"""Flow specs by revision: content-addressed, so what was read once is true for ever."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import ValidationError

from headrace.api.flow import FlowSpec
from headrace.kubeapi.errors import NotFound
from headrace_operator.decide.snapshot import ObjectKey, ResolvedFlow
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import CONTROLLER_REVISIONS
from headrace_operator.manifests.revision import revision_name

HELD = 1024


class Revisions:
    """The latest used revisions; others are read from their ControllerRevision."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held: OrderedDict[tuple[ObjectKey, str], ResolvedFlow] = OrderedDict()

    def put(self, flow: ObjectKey, revision: str, spec: FlowSpec) -> None:
        """Hold a revision that is known to exist in the API."""
        self._held[flow, revision] = ResolvedFlow(flow.name, revision, spec)
        self._held.move_to_end((flow, revision))
        if len(self._held) > HELD:
            self._held.popitem(last=False)

    async def get(self, flow: ObjectKey, revision: str) -> ResolvedFlow | None:
        """The revision, None if there is none of that name. Raises: ApiError."""
        if (flow, revision) not in self._held:
            spec = await self._read(flow, revision)
            if spec is None:
                return None
            self.put(flow, revision, spec)
        self._held.move_to_end((flow, revision))
        return self._held[flow, revision]

    async def _read(self, flow: ObjectKey, revision: str) -> FlowSpec | None:
        try:
            stored = await self._reader.get(CONTROLLER_REVISIONS, flow.namespace, revision_name(flow.name, revision))
            return FlowSpec.model_validate(stored["data"]["spec"])
        except (
            NotFound,
            ValidationError,
        ):  # one that an older version stored and this one cannot read is as good as none
            return None
