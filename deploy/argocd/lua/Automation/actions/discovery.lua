local actions = {}
actions["suspend"] = {iconClass = "fa fa-fw fa-pause", disabled = obj.spec.suspend == true}
actions["resume"] = {iconClass = "fa fa-fw fa-play", disabled = obj.spec.suspend ~= true}
return actions
