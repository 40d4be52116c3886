--- A statement in the making: its parameters, and the tables that it joins.
---
--- Identifiers come from models, quoted; every value is a parameter. The text depends on the shape
--- of a query alone, never on its values, so that the same shape is the same prepared statement.
---
--- Joins follow the steps of a path: one per path (and, where a path may lead to several rows, per
--- scope), INNER while every row has its match, LEFT OUTER from the first step that may find none,
--- unless the filter demands that it finds one.
---
--- A query inside of another is a statement of its own that shares the parameters. Its tables have
--- aliases, so that it can speak of the same tables as the one around it.

local demands = require("rille.models.demands")
local open = require("rille.models.open")

---@class rille.models.Params
---@field n integer
---@field [integer] any

---@class rille.models.Notes  for a plan of a form, see `rille.models.forms`
---@field given any[]?
---@field slots table<integer, integer>   parameters that are made of an open value: which one
---@field makes table<integer, function>  … and by what, if it is not the value itself
---@field lists integer[]     the values that are lists whose length the text depends on
---@field unplanned boolean?  the text depends on more of the values

---@class rille.models.Statement
---@field dialect rille.db.Dialect
---@field query rille.models.Query?  whose names an OuterRef inside means
---@field model rille.models.Model
---@field base string         the model's table as other parts name it, quoted
---@field source string       … as FROM names it
---@field params rille.models.Params
---@field aliases table<string, string>  path of names to quoted alias
---@field joins string[]
---@field counts { joins: integer, inner: integer }  shared by what is inside
---@field scopes table<table, integer>  numbered as they are met
---@field demanded table<string, true>?   paths of names that its filter cannot do without
---@field memo table<rille.models.Node, string>  what has been written
---@field given any[]?       what the open values of the query stand for
---@field shift integer       … where those of a query inside of another begin
---@field notes rille.models.Notes  shared by what is inside
---@field outer rille.models.Statement?
---@field literal boolean?    values stand in the text, columns by their names alone
local Statement = {}
Statement.__index = Statement

--- A statement about a model.
---@param model rille.models.Model
---@param dialect rille.db.Dialect
---@param query rille.models.Query?
---@return rille.models.Statement
function Statement.new(model, dialect, query)
  local base = dialect.quote_table(model._meta.table)
  return setmetatable({
    dialect = dialect,
    query = query,
    model = model,
    base = base,
    source = base,
    params = { n = 0 },
    aliases = {},
    joins = {},
    counts = { joins = 0, inner = 0 },
    scopes = {},
    memo = {},
    given = query and query.given,
    shift = 0,
    notes = { given = query and query.given, slots = {}, makes = {}, lists = {} },
  }, Statement)
end

--- A statement about the same rows, for another part of the same text.
---@param query rille.models.Query
---@return rille.models.Statement
function Statement:beside(query)
  local other = Statement.new(self.model, self.dialect, query)
  other.params, other.notes = self.params, self.notes
  other.given, other.shift = self.given, self.shift
  return other
end

--- A statement inside of this one.
---@param model rille.models.Model
---@param query rille.models.Query?
---@return rille.models.Statement
function Statement:inside(model, query)
  local inner = Statement.new(model, self.dialect, query)
  local counts = self.counts
  counts.inner = counts.inner + 1
  inner.base = self.dialect.quote("inner " .. counts.inner)
  inner.source = inner.source .. " AS " .. inner.base
  inner.params, inner.notes = self.params, self.notes
  if not inner.given then -- it has no values of its own
    inner.given, inner.shift = self.given, self.shift + (query and query.shift or 0)
  end
  inner.counts, inner.outer = counts, self
  return inner
end

--- A value, also where it is an open one.
---@param value any
---@return any
---@return integer? slot  which one, of all
function Statement:value(value)
  local slot = open.slot(value)
  if not slot then
    return value
  end
  slot = slot + self.shift
  return self.given[slot], slot
end

--- Add a parameter; its placeholder. `make`: what makes the parameter of the value, if it is not
--- the value itself.
---@param value any
---@param make (fun(value: any): any)?
---@return string
function Statement:param(value, make)
  local slot
  value, slot = self:value(value)
  if make then
    value = make(value)
  end
  if self.literal then
    return self.dialect.literal(value)
  end
  local params, notes = self.params, self.notes
  local n = params.n + 1
  params.n, params[n] = n, value
  if slot then
    notes.slots[n], notes.makes[n] = slot, make
    notes.unplanned = notes.unplanned or self.given ~= notes.given
  end
  return "$" .. n
end

local function scope_number(self, scope)
  local known = self.scopes[scope]
  if not known then
    known = (self.scopes.n or 0) + 1
    self.scopes.n, self.scopes[scope] = known, known
  end
  return known
end

--- What joins along some steps are called: one that may find several rows by its scope, too.
local function names_of(self, steps, scope)
  local names, name = {}, ""
  for i, step in ipairs(steps) do
    name = name .. step.name .. "__"
    if step.many and scope then
      name = name .. scope_number(self, scope) .. " "
    end
    names[i] = name
  end
  return names
end

--- Must this join find a row, because the filter does not hold otherwise?
local function is_demanded(self, name)
  if not self.demanded then
    local where = self.query and self.query.where
    self.demanded = demands.of(where, function(steps, scope)
      return names_of(self, steps, scope)
    end, false)
  end
  return self.demanded[name]
end

--- The alias of the table at the end of some steps, joining it first where needed.
---@param steps rille.models.Step[]
---@param scope table?
---@return string
function Statement:alias(steps, scope)
  local alias, optional = self.base, false
  for i, name in ipairs(names_of(self, steps, scope)) do
    local step = steps[i]
    optional = (optional or step.null) and not is_demanded(self, name)
    local known = self.aliases[name]
    if not known then
      local quote, counts = self.dialect.quote, self.counts
      counts.joins = counts.joins + 1
      -- A blank cannot be in the name of a model's table, so no alias can hide one.
      known = quote("join " .. counts.joins)
      self.aliases[name] = known
      self.joins[#self.joins + 1] = ("%s JOIN %s AS %s ON %s.%s = %s.%s"):format(
        optional and "LEFT" or "INNER",
        self.dialect.quote_table(step.model._meta.table),
        known,
        known,
        quote(step.to),
        alias,
        quote(step.from)
      )
    end
    alias = known
  end
  return alias
end

--- A column at the end of a path.
---@param path rille.models.Path
---@param scope table?
---@return string
function Statement:column(path, scope)
  local column = self.dialect.quote(path.field.column)
  if self.literal and #path.joins == 0 then
    return column
  end
  return self:alias(path.joins, scope) .. "." .. column
end

--- `" FROM …"`, to be asked for when everything else is written: what is written joins.
function Statement:from()
  local joins = #self.joins > 0 and " " .. table.concat(self.joins, " ") or ""
  return " FROM " .. self.source .. joins
end

return Statement
