local status = obj.status or {}
local ends = {Succeeded = true, Failed = true, Cancelled = true}
local is_over = ends[status.phase] == true

local actions = {}
actions["suspend"] = {iconClass = "fa fa-fw fa-pause", disabled = is_over or obj.spec.suspend == true}
actions["resume"] = {iconClass = "fa fa-fw fa-play", disabled = is_over or obj.spec.suspend ~= true}
actions["cancel"] = {iconClass = "fa fa-fw fa-stop", disabled = is_over or obj.spec.cancel == true}
actions["rerun-failed"] = {
  displayName = "Run failed partitions again",
  iconClass = "fa fa-fw fa-redo",
  disabled = status.phase ~= "Failed" or (status.failed or 0) == 0
}
return actions
