local actions = {}
actions["run-now"] = {displayName = "Run now", iconClass = "fa fa-fw fa-play-circle"}
actions["suspend"] = {iconClass = "fa fa-fw fa-pause", disabled = obj.spec.suspend == true}
actions["resume"] = {iconClass = "fa fa-fw fa-play", disabled = obj.spec.suspend ~= true}
local circuit = (obj.status or {}).circuit or {}
actions["close-circuit"] = {
  displayName = "Close circuit",
  iconClass = "fa fa-fw fa-plug",
  disabled = circuit.state ~= "Open" and circuit.state ~= "HalfOpen"
}
return actions
