local os = require("os")
local run = {apiVersion = obj.apiVersion, kind = "FlowRun"}
run.metadata = {
  name = obj.metadata.name .. "-" .. os.date("!%y%m%d%H%M%S"),
  namespace = obj.metadata.namespace,
  labels = {["headrace.dev/flow"] = obj.metadata.name}
}
run.spec = {flowRef = {name = obj.metadata.name}}

local created = {operation = "create", resource = run}
return {created}
