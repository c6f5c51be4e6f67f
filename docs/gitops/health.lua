-- Argo CD health check for all kinds of the group enact.dev. docs/guide/gitops.md says how to install it.
--
-- Argo CD runs it with the object in the global `obj`, without the libraries of Lua.

-- Reasons of objects that wait for a decision of a person: nothing is wrong with them.
local people = {
  WaitingForApproval = true,
  WaitingForChoice = true,
  WaitingForConstitution = true,
  WaitingForSpecification = true,
  SpecificationChanged = true,
  AgentChanged = true,
  Suspended = true,
  Paused = true,
}

local health = { status = "Progressing", message = "the operator has not read the object yet" }
local status = obj.status
if status == nil or status.conditions == nil then
  -- The operator writes the conditions of a Task when its first attempt starts.
  if obj.kind == "Task" then
    health.message = "no attempt has started; the status of the Plan says what it waits for"
  end
  return health
end

-- -1 until the operator has read the object.
local observed = status.observedGeneration
if observed ~= nil and obj.metadata.generation ~= nil and observed ~= obj.metadata.generation then
  health.message = "the operator has not read the latest change yet"
  return health
end

local found = {}
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" or condition.type == "Ready" then
    found[condition.type] = condition
  end
end

local function is(state, condition)
  health.status = state
  health.message = condition.reason .. ": " .. (condition.message or "")
  return health
end

if found.Stalled ~= nil then
  if people[found.Stalled.reason] then
    return is("Suspended", found.Stalled)
  end
  return is("Degraded", found.Stalled)
end
if found.Ready ~= nil and found.Ready.status == "True" then
  return is("Healthy", found.Ready)
end
local wait = found.Reconciling or found.Ready
if wait ~= nil then
  return is("Progressing", wait)
end
return health
