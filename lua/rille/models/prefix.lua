--- The `a` in front of what waits: `get` of Django is `aget`. Whoever leaves it off is told so,
--- where Lua would say that a nil value was called.

local prefix = {}

-- Methods whose own names begin with an a.
local OWN = { alias = true, all = true, annotate = true }

--- What is missing its `a`, by the name without it.
---@param methods table<string, function>
---@return table<string, string>  `get` to `aget`
function prefix.left_off(methods)
  local names = {}
  for name in pairs(methods) do
    local bare = name:match("^a(%l.*)$")
    if bare and not OWN[name] and not methods[bare] then
      names[bare] = name
    end
  end
  return names
end

--- Raise where a method was looked for: in an `__index`, which calls this.
---@param what string  whose method it would be
---@param bare string
---@param name string
function prefix.refuse(what, bare, name)
  local told = "%s has no method '%s': what waits has an a in front, as '%s'"
  error(told:format(what, bare, name), 3)
end

return prefix
