--- Outlines: what of a query is its form, and what its values.
---
--- One walk through what a builder was given tells them apart. What the SQL depends on (names,
--- operators, the kinds of expressions, how many there are of each) is a word of the way through a
--- tree, whose places are tables by the word that comes next; a constant is one of the values, in
--- the order of the walk. So two queries that differ in values alone end at the same place, no key
--- is ever put together, and a word cannot be mistaken for another.
---
--- Where builders decide by a property of a value, such as the length of a list, the place behind
--- that value asks for it: the answer is a word, too.
---
--- To learn, the same walk notes its words, and gives a copy of what it went through in which open
--- values stand for the constants: what the builder makes of that is the template of a form.
---
--- An expression of a kind that has no outline ends the walk, and so does a query inside of another
--- that is not of a known form, since its parts may be anything.

local expressions = require("rille.models.expressions")
local null = require("rille.core").null
local open = require("rille.models.open")

local outlines = {
  MOST_WORDS = 400, -- in a step; more is not worth remembering
}

-- Words that nothing given can be.
local NONE, VALUE, CONDITION, TABLE = {}, {}, {}, {}
local OPS = { ["and"] = {}, ["or"] = {}, xor = {}, ["not"] = {}, expression = {} }
--- What a place asks of its value: properties.
local ASKS = {}
outlines.VALUE, outlines.ASKS = VALUE, ASKS

---@alias rille.models.Place table<any, any>  by word: the next place

-- The walk that is under way. It neither waits nor calls what is not here, so there is one.
local at ---@type rille.models.Place?  where it is; nil: off the tree
local values ---@type any[]
local n ---@type integer  how many there are
local words ---@type integer  how many there were
local refused ---@type boolean
local lesson ---@type rille.models.Lesson?  while it learns
local noted ---@type any[]  … its words, and an open value for each value

local function word(given)
  if given == nil then
    given = NONE
  end
  words = words + 1
  if lesson then
    noted[words] = given
  elseif at then
    at = at[given]
  end
  return given
end

local function refuse()
  refused, at = true, nil
end

--- Words for what builders decide by.
local function answers(given)
  word(VALUE)
  local asks = at and at[ASKS]
  if asks then
    for i = 1, #asks do
      at = at and at[asks[i](given)]
    end
  end
end

--- The same to learn: `one` will know what was asked.
local function note(one)
  words = words + 1
  noted[words] = one
  return one
end

--- A constant. NULL is written otherwise than a value.
local function value(given)
  if given == null or given == nil then
    word(given)
    return given
  end
  n = n + 1
  values[n] = given
  if lesson then
    return note(open.new(lesson, given))
  end
  answers(given)
end

--- A query inside of another: its form, and its values behind the others.
local function inner(query)
  local form = rawget(query, "form")
  if not form then
    return refuse()
  end
  word(form)
  local template = form.template
  local limit = template.limit_slot and query[template.limit_slot]
  for i = 1, form.n do
    n = n + 1
    values[n] = query[i]
  end
  if not lesson then
    return limit and answers(limit)
  end
  local stand_in = { shift = open.take(lesson, form.n) }
  stand_in.limit_to = limit and note(open.asked(lesson, limit)) or template.limit_to
  return template:_with(stand_in)
end

local expression

--- What may be a constant, an expression or a query.
local function operand(given)
  if type(given) == "table" and getmetatable(given) ~= nil then
    if expressions.is_expression(given) then
      return expression(given)
    elseif expressions.is_query(given) then
      return inner(given)
    end
  end
  return value(given)
end

--- Where a text is the name of a field.
local function argument(given)
  if type(given) == "string" then
    return word(given)
  end
  return operand(given)
end

--- A table of things that `take` knows, in the order in which they are met: the same keys in
--- another order are another way, to the same SQL.
local function entries(given, take)
  local copy = lesson and {}
  for key, one in pairs(given) do
    if type(key) ~= "string" and type(key) ~= "number" or words > outlines.MOST_WORDS then
      return refuse()
    end
    word(key)
    local stand_in = take(one)
    if copy then
      copy[key] = stand_in
    end
  end
  word(NONE)
  return copy
end

--- Conditions: a table, a Q, or an expression.
function outlines.condition(given)
  if words > outlines.MOST_WORDS or type(given) ~= "table" then
    return refuse()
  elseif expressions.is_expression(given) then
    return expression(given)
  elseif not expressions.is_q(given) then
    if getmetatable(given) ~= nil then
      return refuse()
    end
    return entries(given, operand)
  elseif given.op == "leaf" then
    local conditions = entries(given.conditions, operand)
    return lesson and setmetatable({
      op = "leaf",
      conditions = conditions,
      keys = given.keys,
    }, getmetatable(given))
  end
  local op = given.op
  word(OPS[op])
  if op == "expression" then
    local part = expression(given.expression)
    return lesson and setmetatable({ op = op, expression = part }, getmetatable(given))
  end
  local a = outlines.condition(given[1])
  local b = op ~= "not" and outlines.condition(given[2]) or nil
  return lesson and setmetatable({ op = op, a, b }, getmetatable(given))
end

--- What builders take that go by names: names, expressions, queries, options, and tables of these.
function outlines.name(given)
  local kind = type(given)
  if kind == "string" or kind == "boolean" or given == null then
    return word(given)
  elseif kind ~= "table" or words > outlines.MOST_WORDS then
    return refuse()
  elseif expressions.is_expression(given) then
    return expression(given)
  elseif expressions.is_q(given) then
    word(CONDITION)
    return outlines.condition(given)
  elseif getmetatable(given) == nil then
    word(TABLE)
    return entries(given, outlines.name)
  elseif expressions.is_query(given) then
    return inner(given)
  end
  return refuse()
end

-- Expressions -------------------------------------------------------------------------

local function optional(take)
  return function(given)
    if given == nil then
      word(NONE)
      return nil
    end
    return take(given)
  end
end

local function list_of(take)
  return function(given)
    if type(given) ~= "table" then
      return refuse()
    end
    local copy = lesson and {}
    word(#given)
    for i = 1, #given do
      local stand_in = take(given[i])
      if copy then
        copy[i] = stand_in
      end
    end
    return copy
  end
end

--- What a field says about SQL; those of a model are few and stay.
local function field(given)
  if type(given) ~= "table" or given.model or given.kind == "foreign_key" then
    word(given)
  else
    word(given.kind)
    word(given.of and given.of.kind)
  end
  return given
end

local function plain(given)
  word(given)
  return given
end

local function case(given)
  local condition, result = outlines.condition(given.condition), operand(given.result)
  return lesson and { condition = condition, result = result }
end

local function frame(given)
  word(given.unit)
  word(given[1])
  word(given[2])
  return given
end

local function arguments(count, given, copy)
  word(count)
  for i = 1, count do
    local is_text = given.definition.text_at == i and type(given[i]) == "string"
    local stand_in = (is_text and value or argument)(given[i])
    if copy then
      copy[i] = stand_in
    end
  end
  return count
end

--- The parts of each kind of expression, in the order of the walk. What is not among them, here,
--- keeps an expression from having a form.
---@type table<string, { [1]: any, [2]: fun(part: any, whole: table, copy: table?): any }[]>
outlines.of_kind = {
  f = { { "name", plain } },
  outer = { { "name", plain } },
  value = { { "value", value }, { "field", field } },
  arithmetic = { { "op", plain }, { 1, operand }, { 2, operand } },
  order = { { 1, argument }, { "descending", plain }, { "nulls", plain } },
  call = { { "definition", plain }, { "n", arguments } },
  cast = { { 1, argument }, { "field", field } },
  wrapper = { { 1, argument }, { "field", field } },
  collate = { { 1, argument }, { "collation", plain } },
  raw_sql = { { "sql", plain }, { "params", list_of(value) }, { "field", field } },
  condition = { { "q", outlines.condition } },
  json_built = { { "keys", optional(list_of(plain)) }, { "values", list_of(argument) } },
  case = { { "whens", list_of(case) }, { "default", optional(operand) } },
  subquery = { { "query", inner } },
  exists = { { "query", inner }, { "negated", plain } },
  aggregate = {
    { "name", plain },
    { "sql", plain },
    { "output", plain },
    { 1, argument },
    { "distinct", plain },
    { "filter", optional(outlines.condition) },
    { "default", optional(value) },
    { "order_by", optional(list_of(argument)) },
    { "delimiter", optional(value) },
  },
  window = {
    { 1, argument },
    { "partition_by", list_of(argument) },
    { "order_by", list_of(argument) },
    { "frame", optional(frame) },
  },
}

--- Has an expression no parts but those of its outline?
local function is_covered(given, outline)
  local known = { kind = true }
  for _, part in ipairs(outline) do
    known[part[1]] = true
  end
  for key in pairs(given) do
    if not known[key] and not (given.kind == "call" and type(key) == "number") then
      return false
    end
  end
  return true
end

function expression(given)
  local outline = outlines.of_kind[given.kind]
  if not outline or words > outlines.MOST_WORDS or lesson and not is_covered(given, outline) then
    return refuse()
  end
  word(outline)
  local copy = lesson and {}
  for i = 1, #outline do
    local key, take = outline[i][1], outline[i][2]
    local stand_in = take(given[key], given, copy)
    if copy then
      copy[key] = stand_in
    end
  end
  return copy and expressions.new(given.kind, copy)
end

--- What `_paired` takes, see `rille.models.related`: the keys of a table between are the form.
function outlines.pairing(given)
  word(given.near)
  word(given.far)
  word(given.name)
  local key = value(given.key)
  return lesson and { near = given.near, far = given.far, name = given.name, key = key }
end

--- What `_aset` takes, see `rille.models.writing`.
function outlines.sets(given)
  local copy = lesson and {}
  word(#given)
  for i = 1, #given do
    local field_of = given[i].field
    word(field_of)
    local stand_in = operand(given[i].value)
    if copy then
      copy[i] = { field = field_of, value = stand_in }
    end
  end
  return copy
end

-- Walks -------------------------------------------------------------------------------

local NOBODYS = {} -- so that no query's values are kept

local function begin(what, into, count)
  values, n, words, refused = into, count, 0, false
  word(what)
end

--- Go along what `what` was given. Its values are put behind those that `into` has already.
---@param root rille.models.Place
---@param what string      the builder
---@param take function    `condition` or `name`: what its arguments are
---@param into any[]
---@param count integer    how many values there are
---@return rille.models.Place?  the end of the way; nil: unknown
function outlines.follow(root, what, take, into, count, ...)
  at, lesson = root, nil
  begin(what, into, count)
  local given = select("#", ...)
  word(given)
  if given == 1 then
    take((...))
  else
    for i = 1, given do
      take((select(i, ...)))
    end
  end
  local place = at
  begin(nil, NOBODYS, 0)
  return place
end

--- The same as `follow` with one table of conditions in which nothing is an expression, in one loop
--- without a call: most queries are that, and the JIT rarely compiles a task that waits in between.
--- The words have to be those of `follow`. nil: unknown, or not such.
---@param root rille.models.Place
---@param what string
---@param given any
---@param into any[]
---@param count integer
---@return rille.models.Place?
function outlines.follow_plain(root, what, given, into, count)
  local place = root[what]
  place = place and place[1]
  if not place or type(given) ~= "table" or getmetatable(given) ~= nil then
    return nil
  end
  for key, one in pairs(given) do
    place = place[key]
    if not place then
      return nil
    elseif one == null then
      place = place[null]
    elseif type(one) == "table" and getmetatable(one) ~= nil then
      return nil
    else
      count = count + 1
      into[count] = one
      place = place[VALUE]
      local asks = place and place[ASKS]
      if asks then
        for i = 1, #asks do
          place = place and place[asks[i](one)]
        end
      end
    end
    if not place then
      return nil
    end
  end
  return place[NONE]
end

-- Not for the JIT. Where the two results of a compiled `pairs` have to change places, LuaJIT 2.1
-- for x64, as it is packaged, exchanges 32 bits of them: half of a pointer is left, and the process
-- dies. Which registers they are in is luck; here it was so in one of ten runs of a spec.
jit.off(entries)
jit.off(outlines.follow_plain)

--- The same to learn: a lesson, the words of the way, and what stands for the arguments. nil: it
--- has no form.
---@return rille.models.Lesson?
---@return any[] words
---@return table copies  with their number as `n`
function outlines.learn(what, take, base, ...)
  local copies = { n = select("#", ...) }
  lesson, noted = open.lesson(base), {}
  begin(what, {}, 0)
  word(copies.n)
  for i = 1, copies.n do
    copies[i] = take((select(i, ...)))
  end
  local learned, its_words = lesson, noted
  learned.met = learned.n
  lesson, noted = nil, nil
  if refused or words > outlines.MOST_WORDS then
    open.forget(learned)
    return nil, its_words, copies
  end
  return learned, its_words, copies
end

return outlines
