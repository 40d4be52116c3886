--- Forms: what queries that differ in their values alone have in common.
---
--- `filter { pk = 7 }` and `filter { pk = 8 }` are one form with one value. A form has a template,
--- an ordinary query in which open values stand for those, and what the compiler makes of it is
--- kept (`rille.models.plans`). So a query of a known form is its form and its values; nothing is
--- resolved, nothing compiled.
---
--- Forms make a tree: from the form of all rows (`root`), each builder leads to the next, along
--- what it was given (`rille.models.outlines`). What it makes of the values is learned the first
--- time and done again each time after (`rille.models.open`). A value that does not fit, and what
--- has no outline, ends that, and then the builders do as if there were no forms: all that raises,
--- raises there. Also without a form, because their SQL is not a matter of shape alone:
---
--- - integers that a column cannot hold, an empty list, NULL in a list: they decide a condition;
--- - a query after `none`, or with a filter that is decided: nothing is sent;
--- - a second `limit` or `offset`, whose number is made of both; `aget` behind one, which is cut
---   by itself;
--- - a `Prefetch` with a query of its own, and a query that was run before, inside of another;
--- - `acontains`, `aexplain`, a page of `aiterator`: they look at the parts of their query;
--- - `abulk_update`, whose text has a branch for each object; long lists of JSON behind `in`.
---
--- (The text of an INSERT depends on the model alone: `rille.models.insert` keeps it.)
---
--- What is given may come from afar, so a tree is bounded: one that is full begins anew. Nothing of
--- a value is kept.

local open = require("rille.models.open")
local outlines = require("rille.models.outlines")

local VALUE, ASKS = outlines.VALUE, outlines.ASKS
--- Where a way may end: what is to be found there.
local FORM = {}

local forms = {
  MOST = 5000, -- places and forms in a tree
}

---@class rille.models.Form
---@field tree { size: integer, age: integer }  shared by a tree; its age says how often it was full
---@field age integer                      of the tree, when it last grew from here
---@field template rille.models.Query
---@field list table?                      what a method that sends was given besides, resolved
---@field n integer                        how many values there are
---@field lesson rille.models.Lesson?      what the last step makes of those it is given
---@field places rille.models.Place        where the next step begins
---@field plans table<rille.db.Dialect, table<string, rille.models.Plan|rille.models.SizedPlan>>
---@field ways table<string, rille.models.Way>?  by the name of a key, see `rille.models.keys`

local function new_form(tree, parts)
  tree.size = tree.size + 1
  parts.tree, parts.age, parts.places, parts.plans = tree, tree.age, {}, {}
  return parts
end

--- The form of a query without open values.
---@param template rille.models.Query
---@return rille.models.Form
function forms.root(template)
  return new_form({ size = 0, age = 0 }, { template = template, n = 0 })
end

--- Before a form grows: a tree that is full is given up, here and, sooner or later, wherever else
--- somebody keeps a part of it.
local function make_room(form)
  local tree = form.tree
  if tree.size >= forms.MOST then
    tree.size, tree.age = 0, tree.age + 1
  end
  if form.age ~= tree.age then
    form.age, form.places = tree.age, {}
  end
end

-- Ways ------------------------------------------------------------------------------

local function next_place(tree, place, given)
  local found = place[given]
  if not found then
    found = {}
    place[given] = found
    tree.size = tree.size + 1
  end
  return found
end

--- Let a place ask what a builder asked. What lies behind it lies elsewhere from now on.
local function ask(place, asked)
  local asks = place[ASKS] or {}
  local known = {}
  for _, property in ipairs(asks) do
    known[property] = true
  end
  for _, property in ipairs(asked) do
    if not known[property] then
      for key in pairs(place) do
        place[key] = nil
      end
      asks[#asks + 1] = property
      place[ASKS] = asks
    end
  end
  return asks
end

--- Make the way of a lesson.
---@param root rille.models.Place
---@param tree { size: integer }
---@param noted_words any[]
---@return rille.models.Place
local function lay(root, tree, noted_words)
  local place = root
  for _, given in ipairs(noted_words) do
    if open.is(given) then
      place = next_place(tree, place, VALUE)
      for _, property in ipairs(ask(place, given.asked)) do
        place = next_place(tree, place, property(given.sample))
      end
    else
      place = next_place(tree, place, given)
    end
  end
  return place
end

-- Steps -----------------------------------------------------------------------------

--- What the builders make of the values behind the first `base`; in place.
local function fit(lesson, values, base)
  local makes, met = lesson.makes, lesson.met
  for i = met + 1, lesson.n do
    local made = makes[i](values[base + lesson.from[i]])
    if made == nil then
      return false
    end
    values[base + i] = made
  end
  for i = 1, met do
    local make = makes[i]
    if make then
      local made = make(values[base + i])
      if made == nil then
        return false
      end
      values[base + i] = made
    end
  end
  return true
end

--- Make the form behind a way that is new. nil: it has none, or `build` raises.
local function learn(form, name, take, build, ...)
  local lesson, words, copies = outlines.learn(name, take, form.n, ...)
  if not lesson then
    return nil
  end
  local ok, template, list = pcall(build, form.template, unpack(copies, 1, copies.n))
  local next_form
  if ok and template.where ~= false and open.is_over(lesson) then
    make_room(form)
    local place = lay(form.places, form.tree, words)
    next_form = new_form(form.tree, {
      template = template,
      list = list,
      n = form.n + lesson.n,
      lesson = lesson,
    })
    place[FORM] = next_form
  end
  open.forget(lesson)
  return next_form
end

--- The form that `name(...)` leads to, with what `build` makes of it if it is not known. Its new
--- values are put behind those that `values` has already. nil: the builders have to do it.
---@param form rille.models.Form
---@param values any[]
---@param name string
---@param take function  of `outlines`: what the arguments are
---@param build fun(template: rille.models.Query, ...): rille.models.Query, table?
---@return rille.models.Form?
function forms.step(form, values, name, take, build, ...)
  local place = outlines.follow(form.places, name, take, values, form.n, ...)
  local next_form = place and place[FORM] or learn(form, name, take, build, ...)
  if next_form then
    local lesson = next_form.lesson
    if lesson.n == 0 then
      return next_form
    end
    local ok, fits = pcall(fit, lesson, values, form.n)
    if ok and fits then
      return next_form
    end
  end
end

--- The form that `name(given)` leads to, if it is known and `given` is a name.
---@param form rille.models.Form
---@param name string
---@param given string
---@return rille.models.Form?
function forms.named(form, name, given)
  local place = form.places[name]
  place = place and place[1]
  place = place and place[given]
  return place and place[FORM]
end

--- The same with one table of conditions, or another condition.
---@param form rille.models.Form
---@param values any[]
---@param name string
---@param build function
---@param given any
---@return rille.models.Form?
function forms.filter(form, values, name, build, given)
  local place = outlines.follow_plain(form.places, name, given, values, form.n)
  local next_form = place and place[FORM]
  if next_form then
    local ok, fits = pcall(fit, next_form.lesson, values, form.n)
    return ok and fits and next_form or nil
  end
  return forms.step(form, values, name, outlines.condition, build, given)
end

--- The form with one value more, for `limit` and `offset`. nil: the builders have to do it.
---@param form rille.models.Form
---@param name string
---@param build fun(template: rille.models.Query, slot: integer): rille.models.Query?
---@return rille.models.Form?
function forms.with_value(form, name, build)
  local place = form.places[name]
  local known = place and place[FORM]
  if known then
    return known
  end
  local template = build(form.template, form.n + 1)
  if template then
    make_room(form)
    place = lay(form.places, form.tree, { name })
    place[FORM] = new_form(form.tree, { template = template, n = form.n + 1 })
    return place[FORM]
  end
end

-- Back to a query -------------------------------------------------------------------

--- Into `query`, what a query with this form and these values has.
---@param form rille.models.Form
---@param values any[]
---@param query table
function forms.close(form, values, query)
  local template = form.template
  for key, value in pairs(template) do
    query[key] = value
  end
  query.given = { unpack(values, 1, form.n) }
  if template.limit_slot then
    query.limit_to, query.limit_slot = values[template.limit_slot], nil
  end
  if template.skip_slot then
    query.skip, query.skip_slot = values[template.skip_slot], nil
  end
end

return forms
