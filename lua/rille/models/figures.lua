--- Figures: the `a` methods that say something about the rows of a query, and how they are found.
--- Adds them to queries.

local compile = require("rille.models.compile")
local errors = require("rille.errors")
local resolve = require("rille.models.resolve")

local Query = require("rille.models.query").Query

local figures = {}

--- What `aaggregate` was given, resolved: the query, and the aggregates.
---@param aggregates table<string, rille.models.Expression>
---@return rille.models.Query
---@return { name: string, node: rille.models.Node }[]
function Query:_aggregates(aggregates)
  self:_check_not_combined("aaggregate", 3)
  if self.distinct_on and #self.distinct_on > 0 then
    error(errors.NotSupportedError(
      "aaggregate: not behind distinct(fields); leave them out, or count in a subquery"
    ), 3)
  end
  local list = {}
  local subject = setmetatable({ over_groups = true }, { __index = self })
  for i, one in ipairs(self:_named_expressions("aggregate", aggregates, 3)) do
    local node = resolve.expression(subject, one.expression)
    if not node.aggregate then
      error(errors.FieldError(("%s is not an aggregate expression"):format(one.name)), 3)
    end
    list[i] = { name = one.name, node = node }
  end
  return self, list
end

--- Cells of a row of aggregates, for Lua.
---@param row table<string, any>
---@param list { name: string, node: rille.models.Node }[]
---@param dialect rille.db.Dialect
---@return table<string, any>
function figures.read(row, list, dialect)
  for _, aggregate in ipairs(list) do
    local read = aggregate.node.output:reader(dialect)
    if read and row[aggregate.name] ~= nil then
      row[aggregate.name] = read(row[aggregate.name])
    end
  end
  return row
end

--- Figures over the rows: `aaggregate { total = models.Sum "pages", models.Count "*" }`. One
--- without a name is called `pages__sum`. Over no rows they are absent, but a count is 0.
---@async
---@param aggregates table<string, rille.models.Expression>
---@return table<string, any>
function Query:aaggregate(aggregates)
  local _, list = self:_aggregates(aggregates)
  if self.where == false or self.limit_to == 0 then
    local row = {}
    for _, aggregate in ipairs(list) do
      local node = aggregate.node
      row[aggregate.name] = node.name == "Count" and 0 or node.default and node.default.value or nil
    end
    return row
  end
  local database = self:_database()
  local sql, params = compile.aggregate(self, database.dialect, list)
  return figures.read(database:_aread(sql, params)[1], list, database.dialect)
end

local FORMATS = { text = true, json = true, yaml = true, xml = true }
local EXPLAIN = {
  analyze = true,
  verbose = true,
  costs = true,
  settings = true,
  buffers = true,
  wal = true,
  timing = true,
  summary = true,
}

--- How the backend will go about it. PostgreSQL knows a `format` ("text", "json", "yaml", "xml")
--- and `analyze verbose costs settings buffers wal timing summary`; SQLite none of them. With
--- `analyze` the statement is run.
---@async
---@param opts table?
---@return string
function Query:aexplain(opts)
  local database = self:_database()
  local words = {}
  for name, value in pairs(opts or {}) do
    local fits = name == "format" and FORMATS[value] or EXPLAIN[name] and type(value) == "boolean"
    if not fits or not database.dialect.explain_options then
      local told = "Unknown option of aexplain: %s = %s"
      error(errors.ValueError(told:format(tostring(name), tostring(value))), 2)
    end
    words[#words + 1] = name:upper() .. " " .. tostring(value):upper()
  end
  table.sort(words)
  if self.where == false or self.limit_to == 0 then
    return "no rows, without asking the database"
  end
  local sql, params = compile.select(self, database.dialect)
  local head = #words > 0 and ("EXPLAIN (%s) "):format(table.concat(words, ", "))
    or database.dialect.explain
  local lines = {}
  for i, row in ipairs(database:_arun(head .. sql, params)) do
    local line = row["QUERY PLAN"] or row.detail
    lines[i] = type(line) == "table" and require("rille.json").encode(line) or tostring(line)
  end
  return table.concat(lines, "\n")
end

return figures
