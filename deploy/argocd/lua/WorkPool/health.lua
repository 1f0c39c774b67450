local ready = condition("Ready")
if is_behind() or ready.status == nil then
  return is("Progressing", WAITS)
end
if ready.reason == "InvalidSpec" then
  return is("Degraded", ready.message, ready.reason)
end
if ready.status == "False" then
  -- Nodes that start are not ready at first.
  return is("Progressing", ready.message, ready.reason)
end
-- Unknown: no node now, as is usual where an autoscaler adds them.
return is("Healthy", ready.message, ready.status == "Unknown" and ready.reason or nil)
