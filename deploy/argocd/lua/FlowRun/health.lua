local phase = status.phase
local reason = status.reason
local message = status.message

if phase == "Succeeded" then
  return is("Healthy", message, reason)
end
if phase == "Failed" or phase == "Crashed" then
  return is("Degraded", message, reason)
end
if phase == "Cancelled" or phase == "Skipped" then
  -- Somebody or a rule wanted it so; a sync that waits for the run cannot go on all the same.
  return is(is_hook() and "Degraded" or "Healthy", message, reason)
end
if phase == nil then
  return is("Progressing", WAITS)
end
if reason == "Suspended" or (phase == "Paused" and reason ~= "Sleeping") then
  return is("Suspended", message, reason)
end
return is("Progressing", message, reason)
