--- Open values: what stands for a value of a query while a form is made of it.
---
--- Builders need not know whether they have a value or an open one, as long as they do no more with
--- it than this:
---
---     open.map(value, make)      make a parameter of it; nil: it does not fit
---     open.ask(value, property)  decide by it
---
--- A lesson notes both. What was mapped is numbered, and made of every later value in the same way;
--- what was asked is a part of the form: values that answer otherwise are of another form. Whatever
--- else a builder does with an open value raises, or leaves it without a number, and then there is
--- no form: it can cost time, and not a wrong answer.

local open = {}

---@class rille.models.Open
---@field slot integer?   its number among the values
---@field sample any      until the lesson is over: which value it was
---@field make function?  … what it is made by, if it is a part of that one
---@field asked function[]?  … of one that was given: the properties
---@field root rille.models.Open?  … of one that is made of it: that one
---@field mapped boolean?
---@field lesson rille.models.Lesson?
local Open = {}

---@class rille.models.Lesson  what a step from form to form makes of its values
---@field base integer      values that were there before
---@field met integer       how many the step was given
---@field n integer         how many it makes: one of each, and then what is made of one besides
---@field from table<integer, integer>  … of which
---@field makes table<integer, function>  by what; absent: it is the value
---@field opens rille.models.Open[]?  until it is over

---@param base integer
---@return rille.models.Lesson
function open.lesson(base)
  return { base = base, n = 0, met = 0, from = {}, makes = {}, opens = {} }
end

--- Has something become of each value? If not, it may stand where nobody looks for open ones.
---@param lesson rille.models.Lesson
---@return boolean
function open.is_over(lesson)
  for _, one in ipairs(lesson.opens) do
    if one.asked and not one.mapped and #one.asked == 0 then
      return false
    end
  end
  return true
end

--- Nothing of a value is kept.
---@param lesson rille.models.Lesson
function open.forget(lesson)
  for _, one in ipairs(lesson.opens) do
    one.sample, one.make, one.asked, one.root, one.lesson = nil, nil, nil, nil, nil
  end
  lesson.opens = nil
end

--- Room for some more values, as they are.
---@param lesson rille.models.Lesson
---@param count integer
---@return integer  how many there are before them
function open.take(lesson, count)
  local before = lesson.base + lesson.n
  lesson.n = lesson.n + count
  return before
end

local function new(lesson, parts)
  lesson.opens[#lesson.opens + 1] = parts
  parts.lesson = lesson
  return setmetatable(parts, Open)
end

--- What stands for the next value that was given.
---@param lesson rille.models.Lesson
---@param sample any
---@return rille.models.Open
function open.new(lesson, sample)
  return new(lesson, { slot = open.take(lesson, 1) + 1, sample = sample, asked = {} })
end

--- What stands for a value that has its number elsewhere, and can only be asked.
---@param lesson rille.models.Lesson
---@param sample any
---@return rille.models.Open
function open.asked(lesson, sample)
  return new(lesson, { sample = sample, asked = {}, mapped = true })
end

---@param value any
---@return boolean
function open.is(value)
  return getmetatable(value) == Open
end

--- The number of an open value; nil: it is none.
---@param value any
---@return integer?
function open.slot(value)
  return getmetatable(value) == Open and value.slot or nil
end

--- The open value with a number, for a template that is made without a lesson.
---@param slot integer
---@return rille.models.Open
function open.at(slot)
  return setmetatable({ slot = slot }, Open)
end

--- What is made of an open value, and by what from the value that was given.
local function made_of(value, make)
  local made = make(value.sample)
  if made == nil then
    error("this value is not plainly fit: it has no form", 0)
  end
  local before = value.make
  return made, before and function(given)
    local part = before(given)
    if part ~= nil then
      return make(part)
    end
  end or make
end

--- What `make` makes of a value, for a parameter.
---@param value any
---@param make fun(value: any): any  raises, or gives nil, for what does not fit
---@return any
function open.map(value, make)
  if getmetatable(value) ~= Open then
    return make(value)
  end
  local _, whole = made_of(value, make)
  local lesson, root = value.lesson, value.root or value
  local slot = root.slot
  if root.mapped then -- it is made of the value besides
    slot = open.take(lesson, 1) + 1
    lesson.from[slot - lesson.base] = root.slot - lesson.base
  end
  root.mapped = true
  lesson.makes[slot - lesson.base] = whole
  return new(lesson, { slot = slot })
end

--- A part of a value, to be mapped.
---@param value any
---@param make fun(value: any): any
---@return any
function open.part(value, make)
  if getmetatable(value) ~= Open then
    return make(value)
  end
  local made, whole = made_of(value, make)
  return new(value.lesson, { sample = made, make = whole, root = value.root or value })
end

--- What a property of a value is, to decide by: a text, a number or a boolean.
---@param value any  not a part of one that is open
---@param property fun(value: any): any  one and the same function always; it never raises
---@return any
function open.ask(value, property)
  if getmetatable(value) ~= Open then
    return property(value)
  end
  local asked = value.asked
  for i = 1, #asked do
    if asked[i] == property then
      return property(value.sample)
    end
  end
  asked[#asked + 1] = property
  return property(value.sample)
end

return open
