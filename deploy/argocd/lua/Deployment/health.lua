local ready = condition("Ready")
local scheduling = condition("Scheduling")
local triggering = condition("Triggering")
local circuit = condition("CircuitOpen")

if is_behind() or ready.status == nil then
  return is("Progressing", WAITS)
end
if ready.status ~= "True" then
  local is_missing = ready.reason == "FlowNotFound" or ready.reason == "RevisionNotFound"
  if is_missing and is_fresh(ready.lastTransitionTime) then
    return is("Progressing", ready.message, ready.reason)
  end
  return is("Degraded", ready.message, ready.reason)
end
if scheduling.reason == "InvalidSchedule" then
  return is("Degraded", scheduling.message, scheduling.reason)
end
if triggering.status == "False" and triggering.reason ~= "Suspended" then
  return is("Degraded", triggering.message, triggering.reason)
end
if circuit.status == "True" then
  return is("Degraded", circuit.message, circuit.reason)
end

local last = status.lastRun or {}
local failed = last.phase == "Failed" or last.phase == "Crashed"
local counts = (meta.annotations or {})["headrace.dev/health-of-last-run"] == "true"
if failed and counts then
  return is("Degraded", "the last run, " .. last.name .. ", is " .. last.phase, last.reason)
end
if obj.spec.suspend == true then
  -- Not Suspended: a sync would wait for it for ever.
  return is("Healthy", "spec.suspend is true; schedules and triggers start no runs", "Suspended")
end
if failed then
  return is("Healthy", "runs can be started; the last one, " .. last.name .. ", is " .. last.phase)
end
return is("Healthy", ready.message)
