local actions = {}
actions["run-now"] = {displayName = "Run now", iconClass = "fa fa-fw fa-play-circle"}
return actions
