local status = obj.status or {}
local ends = {Succeeded = true, Failed = true, Crashed = true, Cancelled = true, Skipped = true}
local is_over = ends[status.phase] == true

-- Lua does not know an empty object from an empty list, nor large whole numbers from their neighbours.
local function is_safe(value)
  if type(value) == "number" then
    return value > -9007199254740992 and value < 9007199254740992
  end
  if type(value) ~= "table" then
    return true
  end
  if next(value) == nil then
    return false
  end
  for _, each in pairs(value) do
    if not is_safe(each) then
      return false
    end
  end
  return true
end

local pause = status.pause or {}
local asks = status.phase == "Paused" and pause.kind == "Approval"
local takes_input = pause.schema ~= nil

local actions = {}
actions["cancel"] = {iconClass = "fa fa-fw fa-stop", disabled = is_over or obj.spec.cancel == true}
actions["suspend"] = {iconClass = "fa fa-fw fa-pause", disabled = is_over or obj.spec.suspend == true}
actions["resume"] = {iconClass = "fa fa-fw fa-play", disabled = is_over or obj.spec.suspend ~= true}
actions["retry"] = {
  iconClass = "fa fa-fw fa-redo",
  disabled = not is_over or obj.spec.task ~= nil or
    (obj.spec.parameters ~= nil and next(obj.spec.parameters) ~= nil and not is_safe(obj.spec.parameters))
}
actions["approve"] = {iconClass = "fa fa-fw fa-check", disabled = not asks or takes_input}
actions["reject"] = {iconClass = "fa fa-fw fa-times", disabled = not asks}
return actions
