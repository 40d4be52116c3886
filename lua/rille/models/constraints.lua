--- Indexes and constraints of a table, beyond those of one field.
---
---     indexes = { { "author", "title" }, models.Index { fields = { "-at" }, name = "latest" } }
---     constraints = {
---       models.UniqueConstraint { fields = { "room", "seat" }, condition = Q { taken = true } },
---       models.CheckConstraint { condition = Q { pages__gte = 0 }, name = "pages_positive" },
---     }
---
--- Here is what a script says; the SQL of it is made by `rille.models.schema`.

local expressions = require("rille.models.expressions")

---@class rille.models.Index
---@field kind "index"|"unique"|"check"
---@field fields string[]   names; of an index, "-" in front: descending
---@field name string?      default: made of the table and its columns
---@field condition rille.models.Q?  a check: what must hold; else: for rows for which this holds
---@field method string?    an index on PostgreSQL: "btree", "hash", "gin", "gist" or "brin"
local Constraint = {}
Constraint.__index = Constraint

local METHODS = { btree = true, hash = true, gin = true, gist = true, brin = true }
local KNOWN = {
  index = { fields = true, name = true, condition = true, method = true },
  unique = { fields = true, name = true, condition = true },
  check = { name = true, condition = true },
}

local function make(kind, word)
  return function(given)
    if type(given) ~= "table" then
      error(("models.%s takes a table, not a %s"):format(word, type(given)), 2)
    end
    for key in pairs(given) do
      if not KNOWN[kind][key] then
        error(("models.%s has no option '%s'"):format(word, tostring(key)), 2)
      end
    end
    local names = given.fields or {}
    if kind ~= "check" and (type(names) ~= "table" or #names == 0) then
      error(("models.%s needs fields, a list of names"):format(word), 2)
    end
    if given.name ~= nil and (type(given.name) ~= "string" or not given.name:match("^[%w_]+$")) then
      error(("the name of models.%s is made of letters, digits and _"):format(word), 2)
    end
    if given.condition ~= nil and not expressions.is_q(given.condition) then
      error(("the condition of models.%s must be a Q"):format(word), 2)
    end
    if kind == "check" and not (given.condition and given.name) then
      error("models.CheckConstraint needs a condition and a name", 2)
    end
    if given.method and not METHODS[given.method] then
      error(("'%s' is no method of an index"):format(tostring(given.method)), 2)
    end
    return setmetatable({
      kind = kind,
      fields = { unpack(names) },
      name = given.name,
      condition = given.condition,
      method = given.method,
    }, Constraint)
  end
end

local constraints = {
  Index = make("index", "Index"),
  UniqueConstraint = make("unique", "UniqueConstraint"),
  CheckConstraint = make("check", "CheckConstraint"),
}

---@param value any
---@return boolean
function constraints.is_constraint(value)
  return getmetatable(value) == Constraint
end

return constraints
