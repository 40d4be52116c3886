--- Demands: which joins a filter cannot do without.
---
--- A join that may find no row is LEFT OUTER, so that the row it starts from stays. But where a
--- filter can only hold for what the join found, the row would go anyway, and an INNER join says
--- the same in a way that a planner can turn round. This is what Django calls join promotion.
---
--- What is asked of every part of an "and" is demanded, of an "or" what all of its parts demand;
--- under "not" it is the other way round. A comparison demands what it looks at, since nothing
--- compares with NULL; one that is denied does not, and neither does a look for NULL.

local demands = {}

-- What gives a value although an argument is NULL.
local LOOSE = {}
for name in ("Coalesce Greatest Least NullIf Concat SearchVector"):gmatch("%S+") do
  LOOSE[name] = true
end

local of_node = {}

--- Note the paths without which an expression is NULL.
local function note(node, found)
  local known = of_node[node.kind]
  if known then
    known(node, found)
  end
end

function of_node.column(node, found)
  if #node.path.joins > 0 then
    found[#found + 1] = { joins = node.path.joins, scope = node.scope }
  end
end

function of_node.arithmetic(node, found)
  note(node.a, found)
  note(node.b, found)
end

function of_node.call(node, found)
  local definition = node.definition
  if not LOOSE[definition.name] and not definition.window then
    for _, arg in ipairs(node.args) do
      note(arg, found)
    end
  end
end

local function of_inner(node, found)
  note(node.node, found)
end

for _, kind in ipairs({ "cast", "collate", "json_key", "len", "element" }) do
  of_node[kind] = of_inner
end

--- The name of a join on its statement.
---@alias rille.models.JoinName fun(joins: rille.models.Step[], scope: table?): string[]

local function of_test(test, negated, names_of)
  if test.lookup == "isnull" then
    if test.value ~= negated then
      return {}
    end
  elseif negated then
    return {}
  end
  local found = {}
  if test.left then
    note(test.left, found)
  elseif not (negated and test.path.many) then -- which is asked by EXISTS
    of_node.column(test, found)
  end
  if test.f then
    note(test.f, found)
  end
  local names = {}
  for _, one in ipairs(found) do
    for _, name in ipairs(names_of(one.joins, one.scope)) do
      names[name] = true
    end
  end
  return names
end

--- The names of the joins that must find something where a condition is to hold.
---@param node table|boolean  of `rille.models.conditions`
---@param names_of rille.models.JoinName
---@param negated boolean
---@return table<string, true>
function demands.of(node, names_of, negated)
  if type(node) ~= "table" or node.kind == "expression" then
    return {}
  elseif node.kind == "test" then
    return of_test(node, negated, names_of)
  elseif node.kind == "not" then
    return demands.of(node[1], names_of, not negated)
  end
  local all = (node.kind == "and") ~= negated
  local names
  for _, child in ipairs(node) do
    local its = demands.of(child, names_of, negated)
    if not names then
      names = its
    elseif all then
      for name in pairs(its) do
        names[name] = true
      end
    else
      for name in pairs(names) do
        names[name] = its[name]
      end
    end
  end
  return names or {}
end

return demands
