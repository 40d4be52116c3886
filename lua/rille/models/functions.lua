--- Functions of the database, aggregates and windows, for scripts:
---
---     Author.objects:annotate { n = Count("book", { distinct = true }), name_up = Upper "name" }
---     Book.objects:annotate { rank = Window(Rank(), { order_by = "-pages" }) }
---
--- Where a function takes an argument, a string is the name of a field; a text is `Value "text"`.
---
--- Each is a row of a table here: what it gives, and its SQL, `%1` for the first argument, `%*` for
--- all of them. Where the backends differ there is one for each; where one lacks it, `false`.

local expressions = require("rille.models.expressions")
local kinds = require("rille.models.kinds")

---@class rille.models.Function
---@field name string
---@field output string|fun(args: table[]): any  a kind; "same": as the first argument
---@field sql string|table<string, string|false>|fun(dialect: table, node: table): string
---@field least integer     arguments
---@field most integer?     default: as many; false: any number
---@field text_at integer?  an argument that is a text, and no name
---@field both_sides boolean?  of a transform: what is compared with it goes through it, too
---@field join string?      what `%*` has between arguments

local functions = { by_name = {} }

local function define(name, output, sql, least, most, join)
  if most == nil then
    most = least
  end
  local definition =
    { name = name, output = output, sql = sql, least = least, most = most, join = join or ", " }
  functions.by_name[name] = definition
  functions[name] = function(...)
    local n = select("#", ...)
    if n < least or most and n > most then
      error(("%s takes %d argument%s"):format(name, least, least == 1 and "" or "s"), 2)
    end
    return expressions.new("call", { definition = definition, n = n, ... })
  end
  return definition
end

-- SQLite keeps times as text; its functions take the part before the zone, which is UTC.
local TIME = "substr(%1, 1, 19)"

define("Lower", "text", "LOWER(%1)", 1)
define("Upper", "text", "UPPER(%1)", 1)
define("Length", "integer", "LENGTH(%1)", 1)
define("Trim", "text", "TRIM(%1)", 1)
define("LTrim", "text", "LTRIM(%1)", 1)
define("RTrim", "text", "RTRIM(%1)", 1)
-- Text that is too long is cut off at its end, as PostgreSQL does.
local PAD = "CASE WHEN LENGTH(%1) >= %2 THEN SUBSTR(%1, 1, %2) ELSE "
local FILL = "SUBSTR(REPLACE(HEX(ZEROBLOB(%2)), '00', FILLING), 1, %2 - LENGTH(%1))"
for name, both in pairs({ LPad = FILL .. " || %1", RPad = "%1 || " .. FILL }) do
  define(name, "text", function(dialect, node)
    local filling = #node.args > 2 and "%3" or "' '"
    if dialect.name == "postgresql" then
      return ("%s(%%1, %%2, %s)"):format(name:upper(), filling)
    end
    return (PAD .. both .. " END"):gsub("FILLING", (filling:gsub("%%", "%%%%")))
  end, 2, 3)
end
define("Repeat", "text", {
  postgresql = "REPEAT(%1, %2)",
  sqlite = "REPLACE(HEX(ZEROBLOB(%2)), '00', %1)",
}, 2)
--- Where the second text begins in the first, from 1; 0: nowhere.
define("StrIndex", "integer", { postgresql = "STRPOS(%1, %2)", sqlite = "INSTR(%1, %2)" }, 2)
define("Chr", "text", { postgresql = "CHR(%1)", sqlite = "CHAR(%1)" }, 1)
define("Ord", "integer", { postgresql = "ASCII(%1)", sqlite = "UNICODE(%1)" }, 1)
define("MD5", "text", { postgresql = "MD5(%1)", sqlite = false }, 1)
define("SHA256", "text", {
  postgresql = "ENCODE(SHA256(CONVERT_TO(%1, 'UTF8')), 'hex')",
  sqlite = false,
}, 1)
define("Reverse", "text", { postgresql = "REVERSE(%1)", sqlite = false }, 1)
define("Left", "text", { postgresql = "LEFT(%1, %2)", sqlite = "substr(%1, 1, %2)" }, 2)
define("Right", "text", { postgresql = "RIGHT(%1, %2)", sqlite = "substr(%1, -(%2))" }, 2)
define("Substr", "text", "SUBSTR(%*)", 2, 3)
define("Replace", "text", "REPLACE(%1, %2, %3)", 3)
define("Concat", "text", {
  postgresql = "CONCAT(%*)", -- which takes NULL for nothing
  sqlite = "(%*)",
}, 2, false, { postgresql = ", ", sqlite = " || " }).each =
  { postgresql = "(%1)::text", sqlite = "COALESCE(%1, '')" }
define("Coalesce", "same", "COALESCE(%*)", 2, false)
define("NullIf", "same", "NULLIF(%1, %2)", 2)
define("Greatest", "same", { postgresql = "GREATEST(%*)", sqlite = "MAX(%*)" }, 2, false)
define("Least", "same", { postgresql = "LEAST(%*)", sqlite = "MIN(%*)" }, 2, false)
define("Abs", "same", "ABS(%1)", 1)
define("Ceil", "same", {
  postgresql = "CEIL(%1)",
  sqlite = "(CAST(%1 AS INTEGER) + (%1 > CAST(%1 AS INTEGER)))",
}, 1)
define("Floor", "same", {
  postgresql = "FLOOR(%1)",
  sqlite = "(CAST(%1 AS INTEGER) - (%1 < CAST(%1 AS INTEGER)))",
}, 1)
define("Round", "same", function(dialect, node)
  local places = #node.args > 1
  if places and dialect.name == "postgresql" and node.output.kind == "float" then
    return "ROUND((%1)::numeric, %2)::float8" -- which has it for numeric alone
  end
  return "ROUND(%*)"
end, 1, 2)
-- What is exact on PostgreSQL would come as text.
for name in ("Sqrt Exp Ln Sin Cos Tan ASin ACos ATan Degrees Radians"):gmatch("%w+") do
  local sql = name:upper()
  define(name, "float", { postgresql = sql .. "((%1)::float8)", sqlite = sql .. "(%1)" }, 1)
end
define("Cot", "float", { postgresql = "COT((%1)::float8)", sqlite = "(1 / TAN(%1))" }, 1)
define("Pi", "float", "PI()", 0)
for name in ("Power ATan2"):gmatch("%w+") do
  local sql = name:upper()
  local cast = sql .. "((%1)::float8, (%2)::float8)"
  define(name, "float", { postgresql = cast, sqlite = sql .. "(%1, %2)" }, 2)
end
--- The logarithm of the second to the base of the first.
define("Log", "float", {
  postgresql = "LOG((%1)::numeric, (%2)::numeric)::float8",
  sqlite = "LOG(%1, %2)",
}, 2)
define("Sign", "same", "SIGN(%1)", 1)
define("Mod", "same", function(dialect, node)
  local is_float = node.output:storage().kind == "float"
  if dialect.name == "sqlite" then
    return is_float and "MOD(%1, %2)" or "(%1 % %2)"
  end
  return is_float and "MOD((%1)::numeric, (%2)::numeric)::float8" or "MOD(%1, %2)"
end, 2)
define("Random", "float", {
  postgresql = "RANDOM()",
  sqlite = "((RANDOM() + 9223372036854775808.0) / 18446744073709551616.0)",
}, 0)
--- The time of the statement's transaction, or on SQLite of the statement, to milliseconds.
define("Now", "timestamp", {
  postgresql = "CURRENT_TIMESTAMP",
  sqlite = "(RTRIM(RTRIM(STRFTIME('%Y-%m-%d %H:%M:%f', 'now'), '0'), '.') || '+00')",
}, 0)

-- Full-text search, on PostgreSQL.
local VECTOR = { postgresql = "%*", sqlite = false }
define("SearchVector", "tsvector", VECTOR, 1, false, " || ").each =
  { postgresql = "TO_TSVECTOR(COALESCE((%1)::text, ''))" }
local QUERY = { postgresql = "WEBSEARCH_TO_TSQUERY(%1)", sqlite = false }
define("SearchQuery", "tsquery", QUERY, 1).text_at = 1
define("SearchRank", "float", { postgresql = "TS_RANK(%1, %2)::float8", sqlite = false }, 2)
define("SearchHeadline", "text", { postgresql = "TS_HEADLINE(%1, %2)", sqlite = false }, 2)

-- What looks alike, on PostgreSQL with its extension pg_trgm; accents, with unaccent. As Django's,
-- those about words have the text first: `TrigramSimilarity("name", "moon")`,
-- `TrigramWordSimilarity("moon", "name")`.
for name, sql in pairs({
  TrigramSimilarity = "SIMILARITY(%1, %2)::float8",
  TrigramDistance = "((%1) <-> (%2))::float8",
  TrigramWordSimilarity = "WORD_SIMILARITY(%1, %2)::float8",
  TrigramWordDistance = "((%1) <<-> (%2))::float8",
  TrigramStrictWordSimilarity = "STRICT_WORD_SIMILARITY(%1, %2)::float8",
  TrigramStrictWordDistance = "((%1) <<<-> (%2))::float8",
}) do
  local definition = define(name, "float", { postgresql = sql, sqlite = false }, 2)
  definition.text_at = name:find("Word", 1, true) and 1 or 2
end
define("Unaccent", "text", { postgresql = "UNACCENT(%1)", sqlite = false }, 1).both_sides = true

-- Parts of a time ---------------------------------------------------------------------

local EXTRACTS = {
  Year = { "YEAR", "%Y" },
  Month = { "MONTH", "%m" },
  Day = { "DAY", "%d" },
  Hour = { "HOUR", "%H" },
  Minute = { "MINUTE", "%M" },
  Second = { "SECOND", "%S" },
}
for name, words in pairs(EXTRACTS) do
  define("Extract" .. name, "integer", {
    postgresql = ("FLOOR(EXTRACT(%s FROM %%u))::integer"):format(words[1]),
    sqlite = ("CAST(STRFTIME('%s', %s) AS INTEGER)"):format(words[2], TIME),
  }, 1)
end
-- The ISO year is the year of the week's Thursday.
local THURSDAY = ("DATE(%s, '-3 days', 'weekday 4')"):format(TIME)
define("ExtractWeek", "integer", {
  postgresql = "EXTRACT(WEEK FROM %u)::integer",
  sqlite = ("((CAST(STRFTIME('%%j', %s) AS INTEGER) - 1) / 7 + 1)"):format(THURSDAY),
}, 1)
define("ExtractIsoYear", "integer", {
  postgresql = "EXTRACT(ISOYEAR FROM %u)::integer",
  sqlite = ("CAST(STRFTIME('%%Y', %s) AS INTEGER)"):format(THURSDAY),
}, 1)
define("ExtractQuarter", "integer", {
  postgresql = "EXTRACT(QUARTER FROM %u)::integer",
  sqlite = ("((CAST(STRFTIME('%%m', %s) AS INTEGER) + 2) / 3)"):format(TIME),
}, 1)
--- Sunday is 1, Saturday 7.
define("ExtractWeekDay", "integer", {
  postgresql = "(EXTRACT(DOW FROM %u) + 1)::integer",
  sqlite = ("(CAST(STRFTIME('%%w', %s) AS INTEGER) + 1)"):format(TIME),
}, 1)
--- Monday is 1, Sunday 7.
define("ExtractIsoWeekDay", "integer", {
  postgresql = "EXTRACT(ISODOW FROM %u)::integer",
  sqlite = ("((CAST(STRFTIME('%%w', %s) AS INTEGER) + 6) %% 7 + 1)"):format(TIME),
}, 1)

-- The beginning of the part of time that a value lies in: a timestamp, or a date of dates.
local STARTS = {
  Year = "DATE(%s, 'start of year')",
  Month = "DATE(%s, 'start of month')",
  Quarter = "DATE(%s, 'start of month', '-' || ((STRFTIME('%%m', %s) - 1) %% 3) || ' months')",
  Week = "DATE(%s, '-6 days', 'weekday 1')",
  Day = "DATE(%s)",
  Hour = "STRFTIME('%%Y-%%m-%%d %%H:00:00', %s)",
  Minute = "STRFTIME('%%Y-%%m-%%d %%H:%%M:00', %s)",
  Second = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%S', %s)",
}
for name, start in pairs(STARTS) do
  local text = start:format(TIME, TIME)
  local of_day = start:find("^DATE")
  local whole = of_day and ("(%s || ' 00:00:00+00')"):format(text) or ("(%s || '+00')"):format(text)
  local definition = define("Trunc" .. name, "same", {
    postgresql = ("DATE_TRUNC('%s', %%u) AT TIME ZONE 'UTC'"):format(name:lower()),
    sqlite = whole,
  }, 1)
  if of_day then
    definition.of_date = {
      postgresql = ("DATE_TRUNC('%s', %%1)::date"):format(name:lower()),
      sqlite = text,
    }
  end
end
define("TruncDate", "date", { postgresql = "(%u)::date", sqlite = ("DATE(%s)"):format(TIME) }, 1)
for _, name in ipairs({ "ExtractTime", "TruncTime" }) do
  define(name, "text", {
    postgresql = "TO_CHAR(%u, 'HH24:MI:SS')",
    sqlite = "substr(%1, 12, 8)",
  }, 1)
end

--- `a_b` to `AB`.
local function camel(name)
  return (("_" .. name):gsub("_(%l)", string.upper))
end

local function by_part(prefix)
  --- `Trunc("at", "month")`, `Extract("at", "iso_year")`.
  functions[prefix] = function(what, part)
    local make = type(part) == "string" and functions[prefix .. camel(part)]
    if not make then
      error(("%s knows no part '%s' of a time"):format(prefix, tostring(part)), 2)
    end
    return make(what)
  end
end

by_part("Extract")
by_part("Trunc")

-- Kinds -------------------------------------------------------------------------------

--- The same value as another kind: `Cast("pages", models.text())`.
---@param what any
---@param field rille.models.Field
---@return rille.models.Expression
function functions.Cast(what, field)
  if type(field) ~= "table" or not kinds[field.kind] then
    error("Cast needs what to cast and a field to say to what, such as models.text()", 2)
  end
  return expressions.new("cast", { what, field = field })
end

--- Say of what kind an expression is, where that cannot be found from its parts.
---@param what any
---@param field rille.models.Field
---@return rille.models.Expression
function functions.ExpressionWrapper(what, field)
  if type(field) ~= "table" or not kinds[field.kind] then
    error("ExpressionWrapper needs an expression and a field, such as models.integer()", 2)
  end
  return expressions.new("wrapper", { what, field = field })
end

--- The same text, compared and ordered as a collation of the database says: `Collate("name", "C")`,
--- on SQLite "nocase".
---@param what any
---@param collation string
---@return rille.models.Expression
function functions.Collate(what, collation)
  if type(collation) ~= "string" or not collation:match("^[%w_][%w_%-.@]*$") then
    error("Invalid collation name: " .. tostring(collation), 2)
  end
  return expressions.new("collate", { what, collation = collation })
end

--- A JSON object of each row: `JSONObject { name = Lower "name", age = "author__age" }`.
---@param members table<string, string|rille.models.Expression>
---@return rille.models.Expression
function functions.JSONObject(members)
  if type(members) ~= "table" or expressions.is_expression(members) then
    error('JSONObject needs a table: JSONObject { name = Lower "name" }', 2)
  end
  local keys, values = {}, {}
  for key in pairs(members) do
    if type(key) ~= "string" then
      error("JSONObject needs a name for each of its members", 2)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    values[i] = members[key]
  end
  return expressions.new("json_built", { keys = keys, values = values })
end

--- A JSON array of each row: `JSONArray("name", F "pages" + 1)`.
---@param ... string|rille.models.Expression
---@return rille.models.Expression
function functions.JSONArray(...)
  return expressions.new("json_built", { values = { ... } })
end

-- Aggregates --------------------------------------------------------------------------

---@class rille.models.AggregateOptions
---@field distinct boolean?  of values that are the same, one
---@field filter rille.models.Q?  of the rows for which this holds
---@field default any?       over no rows, instead of NULL
---@field order_by (string|string[])?  of those that make a list
---@field delimiter string?  of StringAgg
---@field sample boolean?    of StdDev and Variance: the rows are a sample of what is meant

--- Is this one of `Count`, `Sum` and so on?
---@param value any
---@return boolean
function functions.is_aggregate(value)
  return expressions.is_expression(value) and value.kind == "aggregate"
end

local OPTIONS = {
  distinct = true,
  filter = true,
  default = true,
  order_by = true,
  delimiter = true,
  sample = true,
}

local SAMPLES = {
  StdDev = { postgresql = "STDDEV_SAMP" },
  Variance = { postgresql = "VAR_SAMP" },
}

local function aggregate(name, sql, output)
  --- `models.Sum "pages"`, `models.Count("author", { distinct = true, filter = Q { … } })`.
  functions[name] = function(what, opts)
    if type(what) ~= "string" and not expressions.is_expression(what) then
      error(name .. " needs the name of a field or an expression", 2)
    elseif what == "*" and name ~= "Count" then
      error("only Count can have \"*\"", 2)
    end
    for option in pairs(opts or {}) do
      if not OPTIONS[option] then
        error(("%s has no option '%s'"):format(name, tostring(option)), 2)
      end
    end
    opts = opts or {}
    if opts.sample ~= nil and not SAMPLES[name] then
      error(name .. " has no option 'sample'", 2)
    elseif what == "*" and opts.distinct then
      error("Count cannot have \"*\" and distinct", 2)
    elseif opts.filter ~= nil and not expressions.is_q(opts.filter) then
      error(("the filter of %s must be a Q"):format(name), 2)
    end
    return expressions.new("aggregate", {
      what,
      name = name,
      sql = opts.sample and SAMPLES[name] or sql,
      output = output,
      distinct = opts.distinct == true,
      filter = opts.filter,
      default = opts.default,
      order_by = type(opts.order_by) == "string" and { opts.order_by } or opts.order_by,
      delimiter = name == "StringAgg" and (opts.delimiter or "") or nil,
    })
  end
end

aggregate("Count", "COUNT", "bigint")
aggregate("Sum", "SUM", "sum")
aggregate("Avg", "AVG", "average")
aggregate("Min", "MIN", "same")
aggregate("Max", "MAX", "same")
aggregate("StdDev", { postgresql = "STDDEV_POP" }, "float")
aggregate("Variance", { postgresql = "VAR_POP" }, "float")
aggregate("ArrayAgg", { postgresql = "ARRAY_AGG" }, "array")
aggregate("StringAgg", { postgresql = "STRING_AGG", sqlite = "GROUP_CONCAT" }, "text")
aggregate("BoolAnd", { postgresql = "BOOL_AND", sqlite = "MIN" }, "boolean")
aggregate("BoolOr", { postgresql = "BOOL_OR", sqlite = "MAX" }, "boolean")
for _, name in ipairs({ "And", "Or", "Xor" }) do
  aggregate("Bit" .. name, { postgresql = "BIT_" .. name:upper() }, "same")
end
aggregate("JSONBAgg", { postgresql = "JSONB_AGG" }, "json")

-- Windows -----------------------------------------------------------------------------

define("RowNumber", "bigint", "ROW_NUMBER()", 0).window = true
define("Rank", "bigint", "RANK()", 0).window = true
define("DenseRank", "bigint", "DENSE_RANK()", 0).window = true
define("PercentRank", "float", "PERCENT_RANK()", 0).window = true
define("CumeDist", "float", "CUME_DIST()", 0).window = true
define("Ntile", "integer", "NTILE(%1)", 1).window = true
define("Lag", "same", "LAG(%*)", 1, 3).window = true
define("Lead", "same", "LEAD(%*)", 1, 3).window = true
define("FirstValue", "same", "FIRST_VALUE(%1)", 1).window = true
define("LastValue", "same", "LAST_VALUE(%1)", 1).window = true
define("NthValue", "same", "NTH_VALUE(%1, %2)", 2).window = true

local function as_list(value)
  if value == nil then
    return {}
  end
  return (type(value) == "table" and not expressions.is_expression(value)) and value or { value }
end

-- What may stand in a frame: a whole number of rows, or none for all of them.
local function check_frame(frame)
  local unit = frame.rows and "ROWS" or frame.range and "RANGE"
  local bounds = frame.rows or frame.range
  if not unit or type(bounds) ~= "table" then
    error('a frame is { rows = { from, to } } or { range = { from, to } }', 3)
  end
  local out = { unit = unit }
  for i = 1, 2 do
    local bound = bounds[i]
    if bound ~= nil and bound ~= false and (type(bound) ~= "number" or bound % 1 ~= 0) then
      error("a frame is bounded by integers, or by false for no bound", 3)
    end
    out[i] = bound
  end
  return out
end

--- A function over the rows around: an aggregate, or one of `RowNumber Rank DenseRank Lag Lead …`.
---@param what rille.models.Expression
---@param opts { partition_by: any, order_by: any, frame: table? }?
---@return rille.models.Expression
function functions.Window(what, opts)
  opts = opts or {}
  local fits = expressions.is_expression(what)
    and (what.kind == "aggregate" or what.kind == "call" and what.definition.window)
  if not fits then
    error("Window needs an aggregate or a window function, such as Rank()", 2)
  end
  return expressions.new("window", {
    what,
    partition_by = as_list(opts.partition_by),
    order_by = as_list(opts.order_by),
    frame = opts.frame and check_frame(opts.frame),
  })
end

return functions
