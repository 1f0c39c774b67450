"""`--node` of `headrace dev up`: a whole node in one option."""

from __future__ import annotations

from headrace.devcluster.errors import BadNodeOption
from headrace.devcluster.node.options import (
    NodeDescription,
    Taint,
    parse_capacity,
    parse_label,
    parse_name,
    parse_taint,
)

EXAMPLE = "name=gpu,label:headrace.dev/pool=gpu,taint:nvidia.com/gpu=present:NoSchedule,capacity:nvidia.com/gpu=1"


def parse_node(text: str) -> NodeDescription:
    """
    The node that a `--node` describes: `name=…` and any number of `label:…`, `taint:…`, `capacity:…`, with commas.

    Raises: BadNodeOption.
    """
    name = ""
    labels: dict[str, str] = {}
    taints: list[Taint] = []
    capacity: dict[str, str] = {}
    for part in text.split(","):
        kind, _, rest = part.partition(":")
        if part.startswith("name="):
            name = parse_name(part.removeprefix("name="))
        elif kind == "label":
            key, value = parse_label(rest)
            labels[key] = value
        elif kind == "taint":
            taints.append(parse_taint(rest))
        elif kind == "capacity":
            capacity |= parse_capacity([rest])
        else:
            msg = f'--node "{text}": "{part}" is none of name=, label:, taint:, capacity:; for example {EXAMPLE}'
            raise BadNodeOption(msg)
    if not name:
        msg = f'--node "{text}": the name is missing; for example {EXAMPLE}'
        raise BadNodeOption(msg)
    return NodeDescription(name, labels, tuple(taints), capacity)
