--- Models, fields and expressions: `local models = require "rille.models"`.
---
---     local Book = models.define("book", {
---       title  = models.text { max_length = 200 },
---       pages  = models.integer { default = 0 },
---       author = models.foreign_key(Author, { on_delete = "cascade", related_name = "books" }),
---       tags   = models.many_to_many(Tag),
---     }, { ordering = { "title" }, unique = { { "author", "title" } } })
---
--- Fields: `auto integer bigint float numeric text boolean uuid bytes date timestamp json array`,
--- with the options `null default unique index choices validators primary_key db_column`, and
--- `foreign_key one_to_one many_to_many`. `abstract` makes what several models share; `Index`,
--- `UniqueConstraint` and `CheckConstraint` are for the options of `define`.
--- `Q` and `F` make conditions and expressions, `Case When Value Subquery Exists OuterRef` larger
--- ones. `Count Sum Avg Min Max …` are aggregates, `Lower Coalesce Now …` functions: all of them
--- are in `rille.models.functions`.

local constraints = require("rille.models.constraints")
local definition = require("rille.models.definition")
local expressions = require("rille.models.expressions")
local fields = require("rille.models.fields")
local functions = require("rille.models.functions")
local kinds = require("rille.models.kinds")
local many_to_many = require("rille.models.many_to_many")
local prefetch = require("rille.models.prefetch")
local relations = require("rille.models.relations")
local signals = require("rille.models.signals")

---@class rille.models.Module
local models = {
  define = definition.define,
  abstract = definition.abstract,
  Q = expressions.Q,
  F = expressions.F,
  signals = signals,
  Prefetch = prefetch.Prefetch,
  aprefetch_related_objects = prefetch.aprefetch_related_objects,
  foreign_key = relations.foreign_key,
  one_to_one = relations.one_to_one,
  many_to_many = many_to_many.many_to_many,
  Index = constraints.Index,
  UniqueConstraint = constraints.UniqueConstraint,
  CheckConstraint = constraints.CheckConstraint,
}

for kind in pairs(kinds) do
  if kind ~= "tsquery" then -- which no column holds
    models[kind] = fields[kind]
  end
end
for _, name in ipairs({ "Value", "RawSQL", "OuterRef", "Subquery", "Exists", "When", "Case" }) do
  models[name] = expressions[name]
end
for name, make in pairs(functions) do
  if name:find("^%u") then
    models[name] = make
  end
end

return models
