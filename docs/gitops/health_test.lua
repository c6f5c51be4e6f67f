-- Tests of health.lua: `lua5.4 health_test.lua` in this folder. `cargo xtask test charts` runs them.

local function condition(kind, status, reason)
  return { type = kind, status = status, reason = reason, message = "why" }
end

-- Returns the health of an object, with the libraries that Argo CD gives to a script.
local function health_of(object)
  local environment = { obj = object, ipairs = ipairs, pairs = pairs, tostring = tostring, type = type }
  return assert(loadfile("health.lua", "t", environment))()
end

-- Returns the health of a Plan or document with these conditions.
local function health(conditions, observed)
  local object = { metadata = { generation = 2 }, status = { conditions = conditions, observedGeneration = observed } }
  if conditions == nil then
    object.status = nil
  end
  return health_of(object)
end

local function stalled(reason)
  return { condition("Ready", "False", reason), condition("Stalled", "True", reason) }
end

local cases = {
  { "an object without a status", "Progressing", nil, nil },
  { "an older generation", "Progressing", { condition("Ready", "True", "Approved") }, 1 },
  { "an approved document", "Healthy", { condition("Ready", "True", "Approved") }, 2 },
  { "an object without a generation in its status", "Healthy", { condition("Ready", "True", "Accepted") }, nil },
  {
    "a running plan",
    "Progressing",
    { condition("Ready", "False", "Running"), condition("Reconciling", "True", "Running") },
    2,
  },
  { "a plan that waits for approval", "Suspended", stalled("WaitingForApproval"), 2 },
  { "a plan that waits for a choice", "Suspended", stalled("WaitingForChoice"), 2 },
  { "a suspended plan", "Suspended", stalled("Suspended"), 2 },
  { "a plan that has paused after a phase", "Suspended", stalled("Paused"), 2 },
  { "a specification that waits for the approval of its constitution", "Suspended", stalled("WaitingForConstitution"), 2 },
  {
    "a specification whose constitution is read",
    "Progressing",
    {
      condition("Ready", "False", "WaitingForConstitution"),
      condition("Reconciling", "True", "WaitingForConstitution"),
    },
    2,
  },
  { "a plan that waits for a specification", "Suspended", stalled("WaitingForSpecification"), 2 },
  { "a plan with stale tasks", "Suspended", stalled("SpecificationChanged"), 2 },
  { "a plan with a changed agent", "Suspended", stalled("AgentChanged"), 2 },
  { "a tenant that is set up", "Healthy", { condition("Ready", "True", "SetUp") }, 2 },
  { "a provider with an invalid field", "Degraded", stalled("InvalidProvider"), 2 },
  { "an agent with a forbidden image", "Degraded", stalled("ImageNotAllowed"), 2 },
  { "an approval of older content", "Degraded", stalled("ContentChanged"), nil },
  {
    "a plan while the record is down",
    "Progressing",
    { condition("Ready", "False", "RecordUnavailable"), condition("Reconciling", "True", "RecordUnavailable") },
    2,
  },
  { "a plan that is stale after its end", "Healthy", { condition("Ready", "True", "Succeeded") }, 2 },
  { "a rejected plan", "Degraded", stalled("Rejected"), 2 },
  { "a failed plan", "Degraded", stalled("TaskFailed"), 2 },
  { "an object that is not ready", "Progressing", { condition("Ready", "False", "Something") }, 2 },
}

for _, case in ipairs(cases) do
  local name, wanted, conditions, observed = case[1], case[2], case[3], case[4]
  local result = health(conditions, observed)
  assert(result.status == wanted, name .. " is " .. result.status .. ", and not " .. wanted)
  assert(result.message ~= nil and result.message ~= "", name .. " has no message")
end
local waits = health(stalled("WaitingForApproval"), 2)
assert(waits.message == "WaitingForApproval: why", waits.message)
local idle = { kind = "Task", metadata = { generation = 1 }, status = { phase = "Pending", observedGeneration = -1 } }
assert(health_of(idle).message:find("no attempt has started", 1, true), health_of(idle).message)
print("health.lua: " .. #cases .. " cases passed")
