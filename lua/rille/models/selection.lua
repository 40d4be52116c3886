--- Selection: the builders that say what of the rows is wanted, and in what form. Adds them to
--- queries.
---
---     Book.objects:values("author__name"):annotate { n = Count "id" }      -- grouped by author
---     Author.objects:annotate { n = Count "book" }:filter { n__gt = 3 }    -- each author

local errors = require("rille.errors")
local expressions = require("rille.models.expressions")
local paths = require("rille.models.paths")
local names = require("rille.models.names")
local resolve = require("rille.models.resolve")

local Query = require("rille.models.query").Query
local tables = require("rille.tables")

-- Annotations -----------------------------------------------------------------------------

--- The name that an aggregate has when it is given none: `pages__sum`.
---@param aggregate any
---@return string?
local function default_name(aggregate)
  local plain = expressions.is_expression(aggregate) and aggregate.kind == "aggregate"
  if plain and type(aggregate[1]) == "string" and aggregate[1] ~= "*" then
    return aggregate[1] .. "__" .. aggregate.name:lower()
  end
end

--- `name = expression` pairs in order of their names; what has no name gets one.
---@param what string
---@param given table<any, rille.models.Expression>
---@return { name: string, expression: rille.models.Expression }[]
local function named_expressions(what, given, level)
  if type(given) ~= "table" or next(given) == nil then
    local told = '%s takes name = expression pairs, such as n = models.Count "id"'
    error(told:format(what), level + 1)
  end
  local list = {}
  for key, value in pairs(given) do
    if expressions.is_q(value) then
      value = expressions.of_q(value)
    end
    local name = type(key) == "string" and key or default_name(value)
    if not name then
      error("Complex aggregates require an alias: a name in the table", level + 1)
    elseif not expressions.is_expression(value) then
      error(
        ("%s received what is no expression: '%s' is a %s"):format(what, name, type(value)),
        level + 1
      )
    end
    list[#list + 1] = { name = name, expression = value }
  end
  table.sort(list, function(a, b)
    return a.name < b.name
  end)
  return list
end

--- A field that looks like a node's values and is called as the annotation.
local function output_of(name, node)
  local field = node.output:copy()
  field.name, field.attr, field.null, field.choices = name, name, true, nil
  return field
end

local function check_name(query, name, level)
  local meta = query.model._meta
  if meta.by_name[name] or meta.by_attr[name] or meta.many[name] then
    error(
      errors.ValueError(
        ("The annotation '%s' conflicts with a field on the model."):format(name)
      ),
      level + 1
    )
  elseif not name:match("^[%a][%w_]*$") or #name > 63 then
    error(
      errors.ValueError(
        ("'%s' cannot be the name of an annotation: letters, digits and _ only"):format(name)
      ),
      level + 1
    )
  end
end

--- What rows have in common when something is said of groups of them: with instances, all.
function Query:_group()
  if self.shape == "instances" then
    return "pk"
  end
  local nodes = {}
  for i, selected in ipairs(self.selected) do
    nodes[i] = selected.node
  end
  return nodes
end

--- The query with one more name.
local function add(query, name, expression, selected)
  local node = resolve.expression(query, expression)
  local annotation =
    { name = name, node = node, output = output_of(name, node), selected = selected }
  local list, by_name = { unpack(query.annotations or {}) }, {}
  for key, known in pairs(query.annotated or {}) do
    by_name[key] = known
  end
  list[#list + 1], by_name[name] = annotation, annotation
  local changes = { annotations = list, annotated = by_name }
  if node.aggregate and not query.group then
    changes.group = query:_group()
    if query.default_order then
      changes.order, changes.default_order = {}, false
    end
  end
  if selected and query.shape ~= "instances" then
    changes.selected = { unpack(query.selected) }
    changes.selected[#changes.selected + 1] = { name = name, node = node }
  end
  return query:_with(changes)
end

local function annotate(query, what, selected, given)
  query:_check_not_combined(what, 3)
  for _, one in ipairs(named_expressions(what, given, 3)) do
    check_name(query, one.name, 3)
    query = add(query, one.name, one.expression, selected)
  end
  return query
end

--- What each row comes with besides: `annotate { n = Count "book", shout = Upper "name" }`. The
--- names can be used in `filter`, `order_by`, `values` and other expressions afterwards. A Q is
--- true or false: `annotate { long = Q { pages__gt = 500 } }`. With an aggregate, the rows are
--- groups: of each object, or after `values` of what that selects. A table has no order: an
--- expression that uses another annotation comes in a later call.
---@param given table<string, rille.models.Expression>
---@return rille.models.Query
function Query:annotate(given)
  return annotate(self, "annotate", true, given)
end

--- As `annotate`, for names that are used and do not come with the rows.
---@param given table<string, rille.models.Expression>
---@return rille.models.Query
function Query:alias(given)
  return annotate(self, "alias", false, given)
end

Query._named_expressions = function(_, what, given, level)
  return named_expressions(what, given, level + 1)
end

-- Values ----------------------------------------------------------------------------------

--- Fields by name, and expressions, or all fields, as `values` selects them.
function Query:_select_fields(given)
  local query, selected = self, {}
  local more = given[#given]
  if type(more) == "table" and not expressions.is_expression(more) then
    given[#given] = nil
    for _, one in ipairs(named_expressions("values", more, 3)) do
      check_name(query, one.name, 3)
      query = add(query, one.name, one.expression, true)
      given[#given + 1] = one.name
    end
  end
  for i, name in ipairs(given) do
    if expressions.is_expression(name) then
      local alias = default_name(name) or "column" .. i
      selected[i] = { name = alias, node = resolve.expression(query, name) }
    else
      selected[i] = { name = name, node = names.name(query, name) }
    end
  end
  if #selected == 0 then
    for i, field in ipairs(query.model._meta.fields) do
      local path = paths.get(query.model, field.attr)
      selected[i] = { name = field.attr, node = names.column(query, path) }
    end
    for _, annotation in ipairs(query.annotations or {}) do
      if annotation.selected then
        selected[#selected + 1] = { name = annotation.name, node = annotation.node }
      end
    end
  end
  return query, selected
end

local select_values

--- The same of a combination: what its queries select becomes this, where they have not said.
local function select_of_combined(self, what, shape, given)
  local combined, parts = self.combined, {}
  for i, part in ipairs(combined.queries) do
    if part.shape == "instances" then
      part = select_values(part, what, shape, { unpack(given) })
    end
    parts[i] = part
  end
  local selected, position_of = parts[1].selected, {}
  for i, one in ipairs(selected) do
    position_of[one.name] = i
  end
  local order = {}
  for i, term in ipairs(self.order) do
    local position = position_of[term.name]
    if not position then
      local told = "%s leaves out '%s', which the union, intersection or difference is ordered by."
      error(errors.FieldError(told:format(what, term.name)), 0)
    end
    order[i] = { position = position, name = term.name, descending = term.descending }
  end
  for _, name in ipairs(given) do
    if not position_of[name] and type(name) == "string" then
      local told = "%s: '%s' is not among the columns of the queries"
      error(errors.FieldError(told:format(what, name)), 0)
    end
  end
  local changes = { op = combined.op, all = combined.all, queries = parts }
  return self:_with({ shape = shape, selected = selected, order = order, combined = changes })
end

--- A query that gives plain rows. Raises `FieldError` for names that mean nothing.
function select_values(self, what, shape, given)
  if self.combined then
    return select_of_combined(self, what, shape, given)
  end
  local query, selected = self:_select_fields(given)
  local copy = query:_with({ shape = shape, selected = selected, related = {} })
  copy.prefetches, copy.loaded, copy.deferred, copy.masks = nil, nil, nil, nil
  for _, one in ipairs(selected) do
    if one.node.aggregate and not copy.group then
      copy.group = {} -- all rows are one group, of what is no aggregate
    end
  end
  return copy
end

--- Plain tables with these fields (default: all) instead of instances. NULL is absent. A table of
--- `name = expression` pairs may come last.
---@param ... string|table  fields, also across relations
---@return rille.models.Query
function Query:values(...)
  return select_values(self, "values", "values", { ... })
end

--- Arrays of these fields in this order; with `{ flat = true }` last and one field, just its
--- values. NULL is `rille.null` here, since an array cannot have holes.
---@param ... string|rille.models.Expression|{ flat: boolean }
---@return rille.models.Query
function Query:values_list(...)
  local given, flat = { ... }, false
  local last = given[#given]
  if type(last) == "table" and not expressions.is_expression(last) and last.flat ~= nil then
    given[#given], flat = nil, last.flat
  end
  if flat and #given ~= 1 then
    error("values_list with flat takes exactly one field", 2)
  end
  return select_values(self, "values_list", flat and "flat" or "list", given)
end

local TRUNCATED = {
  date = { year = true, month = true, week = true, day = true },
  timestamp = { hour = true, minute = true, second = true },
}
for unit in pairs(TRUNCATED.date) do
  TRUNCATED.timestamp[unit] = true
end

local function truncated(self, what, wanted, name, unit, order)
  local functions = require("rille.models.functions")
  local output = names.name(self, name).output
  local kind = output:storage().kind
  if not TRUNCATED[kind] or wanted == "timestamp" and kind ~= wanted then
    local told = "%s needs a field of days or times: '%s' is none"
    error(errors.FieldError(told:format(what, name)), 3)
  elseif not TRUNCATED[wanted][unit] then
    local known = table.concat(tables.sorted_keys(TRUNCATED[wanted]), ", ")
    error(("%s goes by %s, not by '%s'"):format(what, known, tostring(unit)), 3)
  elseif order ~= nil and order ~= "ASC" and order ~= "DESC" then
    error(('the order of %s is "ASC" or "DESC"'):format(what), 3)
  end
  local start = functions["Trunc" .. unit:gsub("^%l", string.upper)](name)
  if wanted == "date" and kind == "timestamp" then
    start = functions.TruncDate(start)
  end
  local query = self:order_by():filter({ [name .. "__isnull"] = false })
  query = query:annotate({ truncated_value = start })
  query = query:values_list("truncated_value", { flat = true }):distinct()
  return query:order_by((order == "DESC" and "-" or "") .. "truncated_value")
end

--- The different days, weeks, months or years that a field's values are in, as dates.
---@param name string
---@param unit "year"|"month"|"week"|"day"
---@param order "ASC"|"DESC"|nil
---@return rille.models.Query
function Query:dates(name, unit, order)
  return truncated(self, "dates", "date", name, unit, order)
end

--- The same of times, in UTC, down to "hour", "minute" and "second".
---@param name string
---@param unit string
---@param order "ASC"|"DESC"|nil
---@return rille.models.Query
function Query:datetimes(name, unit, order)
  return truncated(self, "datetimes", "timestamp", name, unit, order)
end

return Query
