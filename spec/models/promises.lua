--- What the specs of Django's promises share: three models, and rows of them.

local models = require("rille.models")

--- Define them anew.
---@return table  Simple, Related, Country; `all` in an order to be made
return function()
  local promises = {}
  local Simple = models.define("promises_simple", {
    field = models.integer(),
    created = models.timestamp({ default = "2022-02-02T00:00:00Z" }),
  }, { name = "Simple" })
  local Related = models.define("promises_related", {
    simple = models.foreign_key(Simple, { on_delete = "cascade", related_name = "related" }),
  }, { name = "Related" })
  local Country = models.define("promises_country", {
    iso = models.text({ max_length = 2, unique = true }),
    name = models.text(),
    people = models.bigint({ null = true }),
    seen = models.timestamp({ auto_now = true }),
    first = models.timestamp({ auto_now_add = true }),
  }, { name = "Country", get_latest_by = "iso" })
  promises.Simple, promises.Related, promises.Country = Simple, Related, Country
  promises.all = { Simple, Related, Country }

  --- Three of Simple, whose `field` is 1 to 3, of three days in order; and a Related to each.
  ---@async
  ---@param database rille.db.Database
  ---@return rille.models.Model, rille.models.Model, rille.models.Model
  function promises.make_three(database)
    local simples, their = {}, {}
    for i = 1, 3 do
      simples[i] = { field = i, created = ("2022-01-0%dT00:00:00Z"):format(i) }
    end
    simples = Simple.objects:using(database):abulk_create(simples)
    for i, one in ipairs(simples) do
      their[i] = { simple = one }
    end
    Related.objects:using(database):abulk_create(their)
    return unpack(simples)
  end

  --- The `field` of each of Simple; of values, the values.
  ---@param list any[]
  ---@return any[]
  function promises.fields(list)
    local found = {}
    for i, one in ipairs(list) do
      found[i] = type(one) == "table" and one.field or one
    end
    return found
  end

  return promises
end
