--- Names: what a name in a query means, of a field along relations, of an annotation, with the
--- transforms that follow: `author__name__lower`.
---
--- A path that may lead to several rows is joined once for each `scope`: what one call of `filter`
--- says is about one and the same related object, another call may be about another. What is not
--- a filter (`order_by`, `values`, `annotate`) takes the join that the last filter made.

local fields = require("rille.models.fields")
local functions = require("rille.models.functions")
local paths = require("rille.models.paths")
local tables = require("rille.tables")

local names = {}

---@class rille.models.Node
---@field kind string
---@field output rille.models.Field
---@field aggregate boolean?
---@field windowed boolean?
---@field nullable boolean?

---@class rille.models.Subject  what names are looked up in: a query, or as much of it
---@field model rille.models.Model
---@field annotated table<string, rille.models.Annotation>?
---@field scopes table<string, table>?
---@field over_groups boolean?  rows are groups already, so their aggregates may be added up

-- Kinds -------------------------------------------------------------------------------

local outputs = {}

--- A field of a kind that belongs to no model.
---@param kind string
---@return rille.models.Field
function names.output(kind)
  local field = outputs[kind]
  if not field then
    field = setmetatable({ kind = kind, name = kind, attr = kind, null = true }, fields.Field)
    outputs[kind] = field
  end
  return field
end

-- Names -------------------------------------------------------------------------------

local EVERYWHERE = {} -- the scope of what no filter has joined

--- A column, joined as `scope` says.
---@param subject rille.models.Subject
---@param path rille.models.Path
---@param scope table?
---@return rille.models.Node
function names.column(subject, path, scope)
  local many = path.many
  if many and not scope then
    scope = subject.scopes and subject.scopes[many] or EVERYWHERE
  end
  return {
    kind = "column",
    path = path,
    scope = many and scope or nil,
    output = path.field,
    nullable = path.nullable,
  }
end

local DATE = {
  year = "ExtractYear",
  iso_year = "ExtractIsoYear",
  quarter = "ExtractQuarter",
  month = "ExtractMonth",
  week = "ExtractWeek",
  week_day = "ExtractWeekDay",
  iso_week_day = "ExtractIsoWeekDay",
  day = "ExtractDay",
}
local TIMESTAMP = {
  hour = "ExtractHour",
  minute = "ExtractMinute",
  second = "ExtractSecond",
  date = "TruncDate",
  time = "ExtractTime",
}
for name, call in pairs(DATE) do
  TIMESTAMP[name] = call
end
local TRANSFORMS = {
  text = {
    lower = "Lower",
    upper = "Upper",
    length = "Length",
    trim = "Trim",
    unaccent = "Unaccent",
  },
  date = DATE,
  timestamp = TIMESTAMP,
}

--- A call of a function in the database.
---@param definition rille.models.Function
---@param args rille.models.Node[]
---@param out rille.models.Field
---@return rille.models.Node
function names.call(definition, args, out)
  local node = { kind = "call", definition = definition, args = args, nullable = true }
  node.output = out
  for _, arg in ipairs(args) do
    node.aggregate = node.aggregate or arg.aggregate
    node.windowed = node.windowed or arg.windowed
  end
  return node
end

--- What a part of a name makes of a node; nil: its kind knows no such transform.
---@param node rille.models.Node
---@param part string
---@return rille.models.Node?
function names.transform(node, part)
  local kind = node.output:storage().kind
  local call = TRANSFORMS[kind] and TRANSFORMS[kind][part]
  if call then
    local definition = functions.by_name[call]
    return names.call(definition, { node }, names.output(definition.output))
  elseif kind == "json" then
    local keys = { unpack(node.keys or {}) }
    keys[#keys + 1] = part
    return {
      kind = "json_key",
      node = node.keys and node.node or node,
      keys = keys,
      output = names.output("json"),
      nullable = true,
      aggregate = node.aggregate,
      windowed = node.windowed,
    }
  elseif kind == "array" and part == "len" then
    return {
      kind = "len",
      node = node,
      output = names.output("integer"),
      nullable = true,
      aggregate = node.aggregate,
      windowed = node.windowed,
    }
  elseif kind == "array" and part:match("^%d+$") and #part < 8 then
    local of = node.output:storage().of
    return {
      kind = "element",
      node = node,
      index = tonumber(part),
      output = of,
      nullable = true,
      aggregate = node.aggregate,
      windowed = node.windowed,
    }
  end
end

--- The transforms that a kind knows, for messages.
---@param kind string
---@return string[]
function names.transforms_of(kind)
  return tables.sorted_keys(TRANSFORMS[kind])
end

local function annotation_names(subject)
  return subject.annotated and tables.sorted_keys(subject.annotated) or nil
end

--- The error for a name that means nothing.
function names.unknown(subject, key)
  return paths.unknown(subject.model, key, annotation_names(subject))
end

--- An annotation, by as many of the first parts as make its name.
local function annotation_of(subject, parts)
  for used = #parts, 1, -1 do
    local known = subject.annotated[table.concat(parts, "__", 1, used)]
    if known then
      return known, used
    end
  end
end

--- What the first parts of a key mean, and how many they are.
---@param subject rille.models.Subject
---@param parts string[]
---@return rille.models.Path? path
---@return integer used
---@return rille.models.Annotation? annotation  instead of a path
function names.head(subject, parts)
  if subject.annotated then
    local known, used = annotation_of(subject, parts)
    if known then
      return nil, used, known
    end
  end
  return paths.walk(subject.model, parts)
end

--- A name: of a field, through relations, or of an annotation; transforms may follow. Raises
--- `FieldError`.
---@param subject rille.models.Subject
---@param name any
---@param scope table?
---@return rille.models.Node
function names.name(subject, name, scope)
  if type(name) ~= "string" then
    error(names.unknown(subject, name), 0)
  end
  local parts = paths.split(name)
  local path, used, annotation = names.head(subject, parts)
  if not path and not annotation then
    error(names.unknown(subject, name), 0)
  end
  local node = annotation and annotation.node or names.column(subject, path, scope)
  for i = used + 1, #parts do
    local transformed = names.transform(node, parts[i])
    if not transformed then
      local far = path and path.of
      error(far and paths.unknown(far, parts[i]) or names.unknown(subject, name), 0)
    end
    node = transformed
  end
  return node
end

return names
