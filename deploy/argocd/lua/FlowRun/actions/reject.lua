local answer = {name = obj.status.pause.name, decision = "Reject"}
local answers = {}
for _, each in ipairs(obj.spec.answers or {}) do
  -- One that was refused is mended.
  if each.name ~= answer.name then
    table.insert(answers, each)
  end
end
table.insert(answers, answer)
obj.spec.answers = answers
return obj
