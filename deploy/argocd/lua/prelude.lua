local os = require("os")
local meta = obj.metadata or {}
local status = obj.status or {}

local function condition(type)
  for _, each in ipairs(status.conditions or {}) do
    if each.type == type then
      return each
    end
  end
  return {}
end

local function is(health, said, reason)
  local message = said or ""
  if reason ~= nil and reason ~= "" and reason ~= message then
    message = message == "" and reason or reason .. ": " .. message
  end
  return {status = health, message = message}
end

-- The status speaks of an older spec, or there is none yet.
local function is_behind()
  if status.observedGeneration == nil then
    return next(status) == nil
  end
  return meta.generation ~= nil and status.observedGeneration < meta.generation
end

-- Two minutes: a manifest may be applied shortly before what it names.
local function is_fresh(since)
  return since ~= nil and since > os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - 120)
end

-- Of a hook, only success lets the sync go on.
local function is_hook()
  local notes = meta.annotations or {}
  return notes["argocd.argoproj.io/hook"] ~= nil or notes["helm.sh/hook"] ~= nil
end

local WAITS = "waits for the operator"
