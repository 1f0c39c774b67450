local ready = condition("Ready")
if is_behind() or ready.status == nil then
  return is("Progressing", WAITS)
end
if ready.status == "True" then
  return is("Healthy", ready.message)
end
return is("Degraded", ready.message, ready.reason)
