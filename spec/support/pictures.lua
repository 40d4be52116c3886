--- What tables there are in a database, as it knows them itself: to see whether two ways of making
--- them have led to the same.

local QUESTIONS = {
  postgresql = {
    [[SELECT c.relname AS "of", a.attname AS "name", a.attnotnull AS "set", a.attidentity AS "auto",
      format_type(a.atttypid, a.atttypmod) AS "type", pg_get_expr(d.adbin, d.adrelid) AS "default"
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
      WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
      AND NOT attisdropped AND relname <> 'rille_migrations' ORDER BY 1, 2]],
    [[SELECT conrelid::regclass::text AS "of", conname AS "name", pg_get_constraintdef(oid) AS "def"
      FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
      AND conrelid::regclass::text <> 'rille_migrations' ORDER BY 1, 2]],
    [[SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
      AND tablename <> 'rille_migrations' ORDER BY 1]],
  },
  sqlite = {
    [[SELECT m.name AS "of", c.name, lower(c.type) AS "type", c."notnull" AS "set", c.pk,
      c.dflt_value FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'
      AND m.name NOT LIKE 'sqlite%' AND m.name <> 'rille_migrations' ORDER BY 1, 2]],
    [[SELECT m.name AS "of", f."from", f."table", f."to", f.on_delete
      FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
      WHERE m.type = 'table' ORDER BY 1, 2]],
    [[SELECT m.name AS "of", i.origin, i."unique", i.partial, x.seqno, x.name, x.desc,
      CASE WHEN i.origin = 'c' THEN i.name END AS "index"
      FROM sqlite_schema m, pragma_index_list(m.name) i, pragma_index_xinfo(i.name) x
      WHERE m.type = 'table' AND m.name <> 'rille_migrations' AND x.key = 1
      ORDER BY 1, 8, 2, (SELECT group_concat(name) FROM pragma_index_info(i.name)), 5]],
  },
}

local pictures = {}

--- Columns, constraints and indexes of all tables, a line for each.
---@async
---@param database rille.db.Database
---@return string
function pictures.atake(database)
  local lines = {}
  for _, sql in ipairs(QUESTIONS[database.backend]) do
    for _, row in ipairs(database:aquery(sql)) do
      local words = {}
      for key, value in pairs(row) do
        words[#words + 1] = key .. "=" .. tostring(value)
      end
      table.sort(words)
      lines[#lines + 1] = table.concat(words, " ")
    end
  end
  return table.concat(lines, "\n")
end

return pictures
