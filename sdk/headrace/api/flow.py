"""Flow: what runs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.common import (
    ATOMIC,
    SET,
    ApiModel,
    Column,
    CustomResource,
    EnvVar,
    InfrastructureRetryPolicy,
    Instant,
    JsonObject,
    LimitRef,
    LocalObjectRef,
    ObjectName,
    PoolChoice,
    PullPolicy,
    Quantity,
    Resources,
    RetryPolicy,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition
from headrace.api.keys import FLOWS, Resource

MAX_NAME = 50
"""A Flow's revisions are named `<flow>-<revision>`, and label values end at 63 characters."""
MAX_TIMEOUT_S = 2**31 - 1
MAX_SAMPLES = 50
"""Attempts of which the sizes are kept."""
MAX_MOUNTED = 16
"""Secrets, and ConfigMaps, that a flow reads: each is a volume of its pod."""
MAX_CODE = 2**18
"""Characters of inline code: 4 bytes each at most, they always fit a ConfigMap, which ends at 1 MiB."""

ENTRYPOINT = r"^([A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*|[-A-Za-z0-9_./]+[.]py):[A-Za-z_][A-Za-z0-9_]*$"

Argument = Annotated[str, Field(max_length=131072)]
"""Linux takes no argument longer than 128 KiB."""


class ImageSource(ApiModel):
    """The code is in the image; there is nothing to set."""


class InlineSource(ApiModel):
    """The code is in the manifest."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "self.files.all(name, name.matches('^[-_.A-Za-z0-9]{1,253}$') && name != '.' && !name.startsWith('..'))",
                "files: a file name has at most 253 letters, digits, '-', '_' and '.', no folder, and no '..' in front",
            ),
            Rule(
                f"self.files.map(name, size(self.files[name])).sum() <= {MAX_CODE}",
                f"files: at most {MAX_CODE} characters in all; put larger code into the image",
            ),
        )
    )

    files: Mapping[str, Annotated[str, Field(max_length=MAX_CODE)]] = Field(
        min_length=1,
        max_length=64,
        description="Text of each file by its name; names hold letters, digits, '-', '_' and '.', and no folder. "
        "At most 64 files and 262144 characters in all.",
    )


class ConfigMapSource(ApiModel):
    """The code is in a ConfigMap."""

    name: ObjectName = Field(
        description="Name of the ConfigMap, in the same namespace. A pod takes what is in it when it starts: let another "
        "content have another name, and make it immutable."
    )


class FlowSource(ApiModel):
    """Where the flow's code is."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "[has(self.image), has(self.inline), has(self.configMap)].filter(is, is).size() == 1",
                "source: set exactly one of image, inline and configMap",
            )
        )
    )

    image: ImageSource | None = Field(default=None, description="The code is in the image.")
    inline: InlineSource | None = Field(
        default=None,
        description="The code is here, and is mounted read-only into the flow's container.",
    )
    config_map: ConfigMapSource | None = Field(
        default=None,
        description="The code is in a ConfigMap, each key a file, and is mounted read-only into the flow's container.",
    )


class FlowParameters(ApiModel):
    """What the flow takes."""

    # `schema` is a method of pydantic's models.
    schema_: JsonObject | None = Field(
        default=None,
        alias="schema",
        description="JSON Schema that a run's parameters must satisfy. Absent: they are not checked.",
    )
    defaults: JsonObject | None = Field(
        default=None,
        description="Values for what neither the Deployment nor the FlowRun gives, by parameter name. Absent: none.",
    )


class Autosize(ApiModel):
    """Requests learnt from what earlier runs used."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "!has(self.minMemory) || !has(self.maxMemory) || "
                "quantity(string(self.minMemory)).compareTo(quantity(string(self.maxMemory))) <= 0",
                "minMemory: must not be above maxMemory",
            )
        )
    )

    enabled: bool = Field(
        default=True, description="true asks for what earlier runs used, with headroom; false only keeps what is set."
    )
    min_memory: Quantity = Field(default="64Mi", description="Never ask for less memory than this.")
    max_memory: Quantity | None = Field(
        default=None,
        description="Never ask for more memory than this. Absent: the memory limit of resources; without one, no bound.",
    )
    max_cpu: Quantity | None = Field(
        default=None,
        description="Never ask for more CPU than this. Absent: the CPU limit of resources; without one, no bound.",
    )


class ResultStorage(ApiModel):
    """Where results persist."""

    url: str = Field(
        min_length=1,
        max_length=1024,
        description="Folder in an object store, database or file system that every pod of the flow reaches, such as "
        "s3://bucket/prefix, gs://bucket/prefix, postgresql://user@host/database or file:///mnt/results. It holds no "
        "password: that of a database comes from the variable HEADRACE_RESULTS_PASSWORD, from a Secret.",
        json_schema_extra=checked_by(
            Rule(
                "self.matches(r'^[a-z][a-z0-9+.-]*://')",
                'url: must begin with a scheme, such as "s3://bucket/prefix" or "file:///mnt/results"',
            ),
            Rule(
                "!self.matches(r'^[a-z][a-z0-9+.-]*://[^/@:]*:[^/@]*@')",
                "url: must hold no password, which everybody who may read Flows would see; set HEADRACE_RESULTS_PASSWORD in "
                "spec.env, from a Secret",
            ),
        ),
    )
    ttl_seconds: int | None = Field(
        default=None,
        ge=1,
        description="Seconds that a result is kept from when it is stored; then it counts as absent, and "
        "`headrace results prune` deletes it. Longer than a run may take with all its attempts. Absent: for ever.",
    )


class ApiAccess(StrEnum):
    """Whether the flow's process may talk to the Kubernetes API."""

    NONE = "None"
    ENABLED = "Enabled"


class FlowSpec(ApiModel):
    """What to run and how. A change makes a new revision; runs under way finish on theirs."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "has(self.entrypoint) != has(self.command)",
                "entrypoint: set exactly one of entrypoint (a Python flow) and command (any container)",
            ),
            Rule(
                "!has(self.args) || has(self.command)",
                "args: allowed only with command; a Python flow takes parameters",
            ),
            Rule(
                "!has(self.command) || has(self.image)",
                "image: required with command",
            ),
            Rule(
                "has(self.entrypoint) || !has(self.source) || !has(self.source.inline)",
                "source.inline: allowed only with entrypoint; a command finds its code in its image",
            ),
            Rule(
                "!has(self.entrypoint) || !has(self.source) || !has(self.source.inline) || "
                "!self.entrypoint.contains('.py:') || self.entrypoint.split(':')[0] in self.source.inline.files",
                "entrypoint: the file that it names must be one of source.inline.files",
            ),
            Rule(
                "has(self.entrypoint) || !has(self.source) || !has(self.source.configMap)",
                "source.configMap: allowed only with entrypoint; a command finds its code in its image",
            ),
            Rule(
                "!has(self.entrypoint) || !has(self.source) || !has(self.source.configMap) || "
                "!self.entrypoint.contains('.py:') || !self.entrypoint.contains('/')",
                "entrypoint: a file of source.configMap is in no folder, as keys of ConfigMaps have none",
            ),
        )
    )

    entrypoint: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description='The Python flow to run: "module:function" or "path/to/file.py:function". '
        "Absent: command says what to run.",
        json_schema_extra=checked_by(
            Rule(
                f"self.matches(r'{ENTRYPOINT}')",
                'entrypoint: write "module:function" or "file.py:function", such as "etl:main" or "etl.py:main"',
            )
        ),
    )
    source: FlowSource = Field(
        default_factory=lambda: FlowSource(image=ImageSource()),
        description="Where the flow's code is: exactly one of image, inline and configMap. Absent: in the image.",
    )
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Image of the flow's container. Absent: the operator's image for Python flows.",
    )
    image_pull_policy: PullPolicy | None = Field(
        default=None,
        description="When the node pulls the image. Absent: Always for the tag latest, else IfNotPresent.",
    )
    image_pull_secrets: tuple[LocalObjectRef, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Secrets with credentials for the image's registry. Absent: those of the ServiceAccount.",
        json_schema_extra=keyed_by("name"),
    )
    command: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Command of a container that is no Python flow; its exit code 0 is success. "
        "Parameters reach it as JSON in HEADRACE_PARAMETERS. Absent: entrypoint says what to run.",
        json_schema_extra=ATOMIC,
    )
    args: Annotated[tuple[Argument, ...], Field(max_length=1024)] | None = Field(
        default=None,
        description="Arguments of the command. Absent: none.",
        json_schema_extra=ATOMIC,
    )
    parameters: FlowParameters | None = Field(
        default=None,
        description="What the flow takes: a JSON Schema and defaults. Absent: anything, unchecked.",
    )
    resources: Resources | None = Field(
        default=None,
        description="Requests and limits of the flow's container. Absent: the namespace's defaults.",
    )
    retries: RetryPolicy = Field(
        default=RetryPolicy(),
        description="What happens when the flow fails: an exception, an exit code, a timeout. Absent: no retry.",
    )
    infrastructure_retries: InfrastructureRetryPolicy = Field(
        default=InfrastructureRetryPolicy(),
        description="What happens when the cluster ends an attempt: eviction, preemption, a lost node, an OOM kill. "
        "Counted apart from retries. Absent: 3 retries.",
    )
    autosize: Autosize | None = Field(
        default=None,
        description="Requests learnt from what earlier runs used, in place of those of resources. Absent: not at all.",
    )
    limits: tuple[LimitRef, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="ConcurrencyLimits whose slots each run holds from its launch to its end. Absent: none.",
        json_schema_extra=keyed_by("name"),
    )
    pools: PoolChoice | None = Field(
        default=None,
        description="WorkPools that runs may use; the cheapest that fits is taken. Absent: all of them.",
    )
    results: ResultStorage | None = Field(
        default=None,
        description="Where results of tasks persist, and inputs of remote ones. Absent: nowhere; remote tasks then fail.",
    )
    api_access: ApiAccess = Field(
        default=ApiAccess.NONE,
        description="Enabled mounts the token of the ServiceAccount, as limits inside tasks and remote tasks need it.",
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] | None = Field(
        default=None,
        description="Seconds that one attempt may take, from the start of its pod. Absent: no bound.",
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the pod. Absent: the namespace's default.",
    )
    env: tuple[EnvVar, ...] = Field(
        default_factory=tuple,
        max_length=256,
        description="Environment variables of the flow's container. Absent: none.",
        json_schema_extra=keyed_by("name"),
    )
    env_from: tuple[JsonObject, ...] = Field(
        default_factory=tuple,
        max_length=64,
        description="Secrets and ConfigMaps whose keys become environment variables, as in a container. Absent: none.",
        json_schema_extra=ATOMIC,
    )
    secrets: tuple[ObjectName, ...] = Field(
        default_factory=tuple,
        max_length=MAX_MOUNTED,
        description="Secrets that the flow's container reads as files, and a Python flow by headrace.Secret; what they hold "
        "is taken out of its log and its status. Absent: none.",
        json_schema_extra=SET,
    )
    variables: tuple[ObjectName, ...] = Field(
        default_factory=tuple,
        max_length=MAX_MOUNTED,
        description="ConfigMaps that the flow's container reads as files, and a Python flow by headrace.Variable. "
        "Absent: none.",
        json_schema_extra=SET,
    )
    pod_template: JsonObject | None = Field(
        default=None,
        description="metadata and spec that are merged into the pod by strategic merge, as the last word. "
        "The flow's container is named flow. Absent: nothing.",
    )


class LearntSize(StatusModel):
    """What earlier runs used, and what the next ones ask for."""

    memory: Quantity | None = Field(default=None, description="Memory that runs ask for. Absent: too few runs yet.")
    cpu: Quantity | None = Field(default=None, description="CPU that runs ask for. Absent: too few runs yet.")
    memory_samples: tuple[int, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SAMPLES,
        description="Most memory of the latest attempts, in MiB, oldest first.",
        json_schema_extra=ATOMIC,
    )
    cpu_samples: tuple[int, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SAMPLES,
        description="Mean CPU of the latest attempts, in thousandths of a core, oldest first.",
        json_schema_extra=ATOMIC,
    )
    last_run_at: Instant | None = Field(
        default=None, description="When the latest run ended whose attempts are among the samples."
    )


class FlowStatus(StatusModel):
    """What the operator says about the Flow."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    revision: str | None = Field(
        default=None,
        max_length=63,
        description="Name of the spec's content, kept as a ControllerRevision. Name it in flowRef.revision to pin it.",
    )
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: runs can be started from this Flow.",
        json_schema_extra=keyed_by("type"),
    )
    autosize: LearntSize | None = Field(
        default=None, description="What was learnt about its size. Absent: spec.autosize is not set."
    )


class Flow(CustomResource):
    """A flow: what runs. Deployments say when and with what; each execution is a FlowRun."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as the names of revisions derive from it",
            )
        )
    )
    resource: ClassVar[Resource] = FLOWS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether runs can be started."),
        Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, or why not."),
        Column("Revision", "string", ".status.revision", "Name of the spec's content."),
        Column("Memory", "string", ".status.autosize.memory", "Memory that runs ask for, as learnt."),
        Column("CPU", "string", ".status.autosize.cpu", "CPU that runs ask for, as learnt."),
        Column("Entrypoint", "string", ".spec.entrypoint", "The Python flow; empty for a command.", 1),
        Column("Image", "string", ".spec.image", "Image of the flow's container.", 1),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["Flow"] = "Flow"
    spec: FlowSpec = Field(description="What to run and how. A change makes a new revision.")
    status: FlowStatus | None = Field(default=None, description="What the operator says about the Flow.")
