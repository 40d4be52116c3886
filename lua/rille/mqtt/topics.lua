--- Topics and filters of MQTT (3.1.1, section 4.7): what is wrong with one, and what a filter's
--- wildcards matched.

local core = require("rille.core")

local M = {}

local GROUP = "^%$share/([^/+#]+)/(.+)$"

--- What is wrong with a filter, in a sentence; nil: nothing.
---@param filter any
---@return string?
function M.filter_error(filter)
  if type(filter) ~= "string" then
    return "a filter is a string, got a " .. type(filter)
  elseif #filter < 1 or #filter > 65535 then
    return "a filter has 1 to 65535 bytes"
  elseif filter:find("\0", 1, true) then
    return "a filter has no zero byte"
  end
  local shared = filter:find("^%$share/") ~= nil
  local inner = filter
  if shared then
    inner = select(2, filter:match(GROUP))
    if not inner then
      return "a shared filter is $share/GROUP/FILTER, with neither + nor # in the group"
    end
  end
  for level in (inner .. "/"):gmatch("([^/]*)/") do
    if level ~= "+" and level:find("+", 1, true) then
      return "a + stands for a whole level: a/+/b"
    elseif level ~= "#" and level:find("#", 1, true) then
      return "a # stands for whole levels: a/#"
    end
  end
  if inner:find("#/", 1, true) then
    return "a # is the last level"
  end
  return not core.mqtt.takes(filter, true) and "it is not UTF-8" or nil
end

--- What is wrong with a topic to publish to; nil: nothing.
---@param topic any
---@return string?
function M.topic_error(topic)
  if type(topic) ~= "string" then
    return "a topic is a string, got a " .. type(topic)
  elseif #topic < 1 or #topic > 65535 or topic:find("\0", 1, true) then
    return "a topic has 1 to 65535 bytes, none of them 0"
  elseif topic:find("[+#]") then
    return "a topic to publish to has no + and no #"
  end
  return not core.mqtt.takes(topic, false) and "it is not UTF-8" or nil
end

local function levels_of(text)
  local levels = {}
  for level in (text .. "/"):gmatch("([^/]*)/") do
    levels[#levels + 1] = level
  end
  return levels
end

--- What the wildcards of a filter stand for in a topic that it matches: a level for each `+`, the
--- rest for `#` ("" where the topic ends in front of it).
---
---     topics.matches("a/+/c/#", "a/b/c/d/e")   --> { "b", "d/e" }
---
---@param filter string
---@param topic string
---@return string[]
function M.matches(filter, topic)
  local found = {}
  local _, inner = filter:match(GROUP)
  local levels = levels_of(topic)
  for i, level in ipairs(levels_of(inner or filter)) do
    if level == "+" then
      found[#found + 1] = levels[i]
    elseif level == "#" then
      found[#found + 1] = table.concat(levels, "/", i)
    end
  end
  return found
end

return M
