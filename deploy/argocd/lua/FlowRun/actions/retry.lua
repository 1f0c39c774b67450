local os = require("os")
local spec = obj.spec
local source = spec.deploymentRef or spec.flowRef

local run = {apiVersion = obj.apiVersion, kind = "FlowRun"}
run.metadata = {
  name = source.name .. "-" .. os.date("!%y%m%d%H%M%S"),
  namespace = obj.metadata.namespace,
  labels = {["headrace.dev/rerun-of"] = obj.metadata.name}
}
for _, owner in ipairs(obj.metadata.ownerReferences or {}) do
  if owner.kind == "Deployment" and owner.apiVersion == obj.apiVersion then
    run.metadata.ownerReferences = {owner}
  end
end
-- Labels that speak of the old run, or of who applied it.
local left_out = {
  ["app.kubernetes.io/managed-by"] = true,
  ["app.kubernetes.io/instance"] = true,
  ["headrace.dev/schedule"] = true,
  ["headrace.dev/rerun-of"] = true,
  ["headrace.dev/parent"] = true,
  ["headrace.dev/started-by"] = true,
  ["headrace.dev/root"] = true,
  ["headrace.dev/backfill"] = true,
  ["headrace.dev/partition"] = true,
  ["headrace.dev/position"] = true,
  ["headrace.dev/try"] = true
}
for name, value in pairs(obj.metadata.labels or {}) do
  if not left_out[name] then
    run.metadata.labels[name] = value
  end
end

run.spec = {
  deploymentRef = spec.deploymentRef,
  flowRef = spec.flowRef,
  scheduledTime = spec.scheduledTime,
  priority = spec.priority,
  -- Two people who retry one failure start one run.
  idempotencyKey = "retry/" .. obj.metadata.uid
}
if spec.parameters ~= nil and next(spec.parameters) ~= nil then
  run.spec.parameters = spec.parameters
end

local created = {operation = "create", resource = run}
return {created}
