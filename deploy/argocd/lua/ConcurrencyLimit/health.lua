local ready = condition("Ready")
if is_behind() or ready.status == nil then
  return is("Progressing", WAITS)
end
if ready.status == "True" then
  return is("Healthy", ready.message)
end
if ready.reason == "Resizing" then
  -- The limit holds already; it takes as long as the runs that hold slots.
  return is("Healthy", ready.message, ready.reason)
end
return is("Degraded", ready.message, ready.reason)
