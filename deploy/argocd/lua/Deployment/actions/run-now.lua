local os = require("os")
local run = {apiVersion = obj.apiVersion, kind = "FlowRun"}
run.metadata = {
  name = obj.metadata.name .. "-" .. os.date("!%y%m%d%H%M%S"),
  namespace = obj.metadata.namespace,
  labels = {
    ["headrace.dev/deployment"] = obj.metadata.name,
    ["headrace.dev/flow"] = obj.spec.flowRef.name
  }
}
-- As runs of schedules: part of its tree, and gone when it goes.
local owner = {apiVersion = obj.apiVersion, kind = obj.kind, name = obj.metadata.name, uid = obj.metadata.uid}
owner.controller = true
owner.blockOwnerDeletion = false
run.metadata.ownerReferences = {owner}
run.spec = {deploymentRef = {name = obj.metadata.name}}

local created = {operation = "create", resource = run}
return {created}
