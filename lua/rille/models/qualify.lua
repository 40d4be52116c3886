--- Filters over windows: `annotate { place = Window(…) }:filter { place__lte = 3 }`.
---
--- SQL looks at the rows around when it has chosen them, so it cannot choose by what it sees then.
--- The query becomes one inside of another: inside are its rows, with a column for each thing that
--- is asked of them, and outside is what is asked, the order and the slice. Adds `qualified` to
--- statements, and `distinct_by_more`, which is made in the same way.

local Statement = require("rille.models.write_condition")
local errors = require("rille.errors")
local logic = require("rille.models.logic")
local resolve = require("rille.models.resolve")

local qualify = { is_windowed = resolve.has_window }

-- What is asked where -------------------------------------------------------------------

--- Is a part of a condition about plain rows?
local function has_plain(node)
  if node.kind ~= "test" and node.kind ~= "expression" then
    for _, child in ipairs(node) do
      if has_plain(child) then
        return true
      end
    end
    return false
  end
  return not resolve.has_aggregate(node) and not resolve.has_window(node)
end

local function put(node, negated, grouped, out)
  if node.kind == "not" then
    return put(node[1], not negated, grouped, out)
  elseif node.kind == (negated and "or" or "and") then
    for _, child in ipairs(node) do
      put(child, negated, grouped, out)
    end
    return
  end
  local list = out.rows
  if resolve.has_window(node) then
    list = out.windows
    if grouped and has_plain(node) then
      error(
        errors.NotSupportedError(
          "a filter of groups cannot have a window and a plain field in one \"or\":"
            .. " the field would have to be asked before the rows are grouped, and the window after"
        ),
        0
      )
    end
  elseif resolve.has_aggregate(node) then
    list = out.groups
  end
  list[#list + 1] = negated and logic.none_of(node) or node
end

--- What a condition says about rows, what about groups of them, and what about windows. Parts that
--- an "or" connects stay together, in the last of these places that one of them needs.
---@param node table|boolean
---@param grouped boolean  the query's rows are groups
---@return table[] rows
---@return table[] groups
---@return table[] windows
function qualify.split(node, grouped)
  if not resolve.has_aggregate(node) and not resolve.has_window(node) then
    return { node }, {}, {}
  end
  local out = { rows = {}, groups = {}, windows = {} }
  put(node, false, grouped, out)
  return out.rows, out.groups, out.windows
end

--- The columns that a query selects, by their names in a result.
---@param query rille.models.Query
---@return string[]
function qualify.names_of(query)
  local names = {}
  if query.shape ~= "instances" then
    for i, selected in ipairs(query.selected) do
      names[i] = selected.name
    end
    return names
  end
  local function add(prefix, fields)
    for _, field in ipairs(fields) do
      names[#names + 1] = prefix .. field.attr
    end
  end
  add("", query.loaded or query.model._meta.fields)
  for _, related in ipairs(query.related) do
    local mask = query.masks and query.masks[related.name]
    add(related.name .. "__", mask and mask.loaded or related.model._meta.fields)
  end
  for _, annotation in ipairs(query.annotations or {}) do
    if annotation.selected then
      names[#names + 1] = annotation.name
    end
  end
  return names
end

-- The statement around ------------------------------------------------------------------

local ROWS = '"qualified"'

--- The statement outside: what it is asked to write, it has the one inside select.
---@class rille.models.Outside : rille.models.Statement
---@field within rille.models.Statement
---@field columns string[]               what that one selects
---@field known table<string, string>    what it selects, by what it is inside: its name there
local Outside = setmetatable({}, { __index = Statement })
Outside.__index = Outside

--- What a column inside is called outside. A blank cannot be in the name of anything else.
local function take(self, sql)
  local columns, known = self.columns, self.known
  if not known[sql] then
    local name = "q " .. #columns
    columns[#columns + 1] = sql .. " AS " .. self.dialect.quote(name)
    known[sql] = name
  end
  return ROWS .. "." .. self.dialect.quote(known[sql])
end

function Outside:expression(node)
  return take(self, self.within:expression(node))
end

--- What the query selects anyway: DISTINCT can only be ordered by that.
local function selected_by(statement, query)
  local known = {}
  if query.shape ~= "instances" then
    for _, selected in ipairs(query.selected) do
      known[statement:expression(selected.node)] = selected.name
    end
    return known
  end
  for _, field in ipairs(query.loaded or query.model._meta.fields) do
    known[statement:column({ joins = {}, field = field })] = field.attr
  end
  for _, related in ipairs(query.related) do
    local mask = query.masks and query.masks[related.name]
    for _, field in ipairs(mask and mask.loaded or related.model._meta.fields) do
      local path = { joins = related.joins, field = field }
      known[statement:column(path)] = related.name .. "__" .. field.attr
    end
  end
  for _, annotation in ipairs(query.annotations or {}) do
    if annotation.selected then
      known[statement:expression(annotation.node)] = annotation.name
    end
  end
  return known
end

--- What is not about windows is decided inside, and so is whether a value is in a list of rows.
function Outside:condition(node, negated)
  local list = node.kind == "test" and node.lookup == "in" and node.f
  if list or not resolve.has_window(node) then
    return take(self, self.within:condition(node, negated))
  end
  return Statement.condition(self, node, negated)
end

--- `what` is selected inside, instead of what the query selects.
local function outside_of(statement, query, what)
  return setmetatable({
    dialect = statement.dialect,
    params = statement.params,
    notes = statement.notes,
    given = statement.given,
    shift = statement.shift,
    columns = { what or statement:selection(query) },
    known = what and {} or selected_by(statement, query),
    within = statement,
  }, Outside)
end

--- Columns of the rows inside.
local function columns_by_name(dialect, names)
  local columns = {}
  for i, name in ipairs(names) do
    columns[i] = ROWS .. "." .. dialect.quote(name)
  end
  return table.concat(columns, ", ")
end

--- The SELECT of a query whose filter looks at windows.
---@param query rille.models.Query
---@param where string
---@param having string
---@param windows table[]  conditions
---@param parts { what: string?, names: string[]?, most: integer? }  `what` instead of what the
---  query selects, by `names`; without them, the other columns come along
---@return string
function Statement:qualified(query, where, having, windows, parts)
  local outside, tests = outside_of(self, query, parts.what), {}
  for i, node in ipairs(windows) do
    tests[i] = outside:condition(node, false)
  end
  local distinct, order = outside:distinct(query), outside:order(query)
  local names = parts.names or not parts.what and qualify.names_of(query)
  local group = query.group and self:group(query) or ""
  return ("SELECT %s%s FROM (SELECT %s%s%s%s%s%s) AS %s WHERE %s%s%s"):format(
    distinct,
    names and columns_by_name(self.dialect, names) or "*",
    table.concat(outside.columns, ", "),
    self:from(),
    where,
    group,
    having,
    self:lock(query),
    ROWS,
    table.concat(tests, " AND "),
    order,
    outside:slice(query, parts.most)
  )
end

--- The SELECT of distinct rows in an order that looks at more than they have, which then tells them
--- apart as well: as Django has it. nil: the order looks at no more.
---@param query rille.models.Query
---@param where string
---@param having string
---@param most integer?
---@return string?
function Statement:distinct_by_more(query, where, having, most)
  local outside = outside_of(self, query)
  local order = outside:order(query)
  if #outside.columns == 1 then
    return nil
  end
  local group = query.group and self:group(query) or ""
  return ("SELECT %s FROM (SELECT DISTINCT %s%s%s%s%s%s) AS %s%s%s"):format(
    columns_by_name(self.dialect, qualify.names_of(query)),
    table.concat(outside.columns, ", "),
    self:from(),
    where,
    group,
    having,
    self:lock(query),
    ROWS,
    order,
    outside:slice(query, most)
  )
end

return qualify
