--- Models, fields and expressions: `local models = require "rille.models"`.
---
---     local Book = models.define("book", {
---       title  = models.text { max_length = 200 },
---       pages  = models.integer { default = 0 },
---       author = models.foreign_key(Author, { on_delete = "cascade" }),
---     }, { ordering = { "title" }, unique = { { "author", "title" } } })
---
--- Fields: `auto integer bigint float numeric text boolean uuid bytes date timestamp json
--- foreign_key`, with the options `null default unique index choices primary_key db_column`.
--- `Q` and `F` make conditions and expressions; `Count Sum Avg Min Max` are for `aaggregate`.

local expressions = require("rille.models.expressions")
local fields = require("rille.models.fields")
local model = require("rille.models.model")

local models = {
  define = model.define,
  Q = expressions.Q,
  F = expressions.F,
  Count = expressions.Count,
  Sum = expressions.Sum,
  Avg = expressions.Avg,
  Min = expressions.Min,
  Max = expressions.Max,
  foreign_key = fields.foreign_key,
}

for _, kind in ipairs({
  "auto",
  "integer",
  "bigint",
  "float",
  "numeric",
  "text",
  "boolean",
  "uuid",
  "bytes",
  "date",
  "timestamp",
  "json",
}) do
  models[kind] = fields[kind]
end

return models
