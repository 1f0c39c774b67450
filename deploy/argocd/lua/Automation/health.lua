local ready = condition("Ready")
if is_behind() or ready.status == nil then
  return is("Progressing", WAITS)
end
if ready.status ~= "True" then
  return is("Degraded", ready.message, ready.reason)
end
if obj.spec.suspend == true then
  -- Not Suspended: a sync would wait for it for ever.
  return is("Healthy", "spec.suspend is true; events are counted and nothing is done", "Suspended")
end
return is("Healthy", ready.message)
