local phase = status.phase
local reason = status.reason
local message = status.message
local ready = condition("Ready")

if is_behind() or phase == nil then
  return is("Progressing", WAITS)
end
if phase == "Succeeded" then
  return is("Healthy", message, reason)
end
if phase == "Failed" then
  return is("Degraded", message, reason)
end
if phase == "Cancelled" then
  return is(is_hook() and "Degraded" or "Healthy", message, reason)
end
if ready.status == "False" then
  if ready.reason == "DeploymentNotFound" and is_fresh(ready.lastTransitionTime) then
    return is("Progressing", ready.message, ready.reason)
  end
  return is("Degraded", ready.message, ready.reason)
end
if phase == "Paused" then
  return is("Suspended", message, reason)
end
return is("Progressing", message, reason)
