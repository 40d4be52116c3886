--- What a model knows about itself. `define` makes one per model and nobody else writes to it.

local errors = require("rille.errors")

---@class rille.models.Meta
---@field model rille.models.Model
---@field table string
---@field fields rille.models.Field[]            the key first, then by name
---@field keyless_fields rille.models.Field[]    the same without the key
---@field by_name table<string, rille.models.Field>
---@field by_attr table<string, rille.models.Field>
---@field pk rille.models.Field
---@field pk_path rille.models.Path
---@field relations table<string, rille.models.Field>  its foreign keys
---@field many table<string, rille.models.ManyToMany>  its many-to-many fields, by name
---@field many_list rille.models.ManyToMany[]
---@field reverse table<string, table>         relations that lead here, by their name on instances
---@field reverse_keys table<string, table>    and by their name in filters
---@field pointing table[]                     all of them, hidden ones too
---@field base rille.models.Manager            all rows, whatever `objects` is
---@field methods table<string, function>?     of managers and queries
---@field receivers table                      of signals, by signal
---@field managed boolean
---@field auto_created rille.models.ManyToMany?  the field that this is the table between of
---@field get_latest_by string[]?
---@field relation_names string[]
---@field ordering string[]?
---@field unique_together string[][]
---@field indexes rille.models.Index[]
---@field constraints rille.models.Index[]
---@field instance table                         metatable of rows
---@field readers_of table<string, table>        by dialect: cells to convert
---@field selections table<string, string>       by dialect: its columns as SQL
---@field resolved table<string, table>          filter keys seen, resolved
---@field resolved_count integer
local Meta = {}
Meta.__index = Meta

--- Cells to convert after a fetch: none on PostgreSQL, a few on SQLite. Found once.
---@param dialect rille.db.Dialect
---@return { name: string, read: function }[]
function Meta:readers(dialect)
  local known = self.readers_of[dialect.name]
  if not known then
    known = {}
    for _, field in ipairs(self.fields) do
      local read = field:reader(dialect)
      if read then
        known[#known + 1] = { name = field.attr, read = read }
      end
    end
    self.readers_of[dialect.name] = known
  end
  return known
end

--- The fields of names, attributes or `pk`. Raises `ValueError` for others.
---@param names string[]
---@return rille.models.Field[]
function Meta:fields_of(names)
  local found, seen = {}, {}
  for _, name in ipairs(names) do
    local field = self.by_name[name] or self.by_attr[name]
    if not field or field.primary_key then
      error(
        errors.ValueError(
          ("The following fields do not exist in this model, or are its primary key: %s"):format(
            tostring(name)
          )
        ),
        0
      )
    end
    if not seen[field] then
      seen[field] = true
      found[#found + 1] = field
    end
  end
  return found
end

return Meta
