--- Tables by chance: whatever two states differ in, the operations between them lead from one to
--- the other, as files, on both backends, and back.

local backends = require("spec.support.backends")
require("spec.support.fake_core")

local State = require("rille.migrations.state")
local diff = require("rille.migrations.diff")
local folder = require("rille.migrations.folder")
local operations = require("rille.migrations.operations")
local pictures = require("spec.support.pictures")
local runner = require("rille.migrations.runner")
local writer = require("rille.migrations.writer")

local SEEDS = 60
local CHANGES = tonumber(os.getenv("RILLE_SPEC_CHANGES") or 3) -- in a row, on a database

--- A generator of its own, so that a seed says everything.
local function chances(seed)
  local state = seed
  return function(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
end

local KINDS = { "text", "integer", "bigint", "numeric" }

local function column(name, chance)
  local made = { name = name, kind = KINDS[chance(#KINDS)] }
  made.max_length = made.kind == "text" and chance(3) == 1 and chance(50) or nil
  made.null = chance(2) == 1 or nil
  local choice = chance(5)
  made.unique = choice == 1 or nil
  made.index = choice == 2 or nil
  return made
end

local function table_of(name, chance, others)
  local described = {
    name = name,
    columns = { { name = "id", kind = "auto", primary_key = true } },
    unique = {},
    indexes = {},
    checks = {},
  }
  local names = {}
  for i = 1, 5 do
    if chance(3) > 1 then
      local made = column("c" .. i, chance)
      if chance(3) == 1 then
        made.kind, made.max_length, made.unique = "bigint", nil, nil
        made.references = others[chance(#others)] .. ".id"
        made.on_delete = chance(2) == 1 and "cascade" or "restrict"
      end
      described.columns[#described.columns + 1] = made
      names[#names + 1] = made.name
    end
  end
  if #names > 1 and chance(2) == 1 then
    described.unique[1] = { names[1], names[2] }
  end
  if #names > 1 and chance(2) == 1 then
    described.indexes[1] = { columns = { names[2], names[1] } }
  end
  if #names > 0 and chance(2) == 1 then
    local sql = ('"%s" IS NOT NULL'):format(names[1])
    described.checks[1] = { name = name .. "_check_" .. chance(3), sql = sql }
  end
  return described
end

local function state_of(chance)
  local state, names = State(), {}
  for _, name in ipairs({ "apple", "birch", "cedar", "daisy" }) do
    names[#names + 1] = chance(4) > 1 and name or nil
  end
  for _, name in ipairs(names) do
    state:add(table_of(name, chance, names))
  end
  return state
end

--- The operations between two states, as a file says them.
local function between(from, to, chance)
  local list = diff(from, to, {
    renamed = function(_, _, _, alike)
      return alike and chance(2) == 1
    end,
    fill = function(_, to_fill)
      return to_fill.kind == "text" and "1" or 1
    end,
  })
  local migration = assert(loadstring(writer.file("spec", list), "@x.lua"))()
  migration.name = "0001_x"
  return migration
end

--- As text, whatever the order of columns, groups and indexes is.
local function text_of(state)
  local lines = {}
  for _, name in ipairs(state:names()) do
    local described = state:get(name)
    for _, one in ipairs(described.columns) do
      local words = {}
      for key, value in pairs(one) do
        words[#words + 1] = key .. "=" .. tostring(value)
      end
      table.sort(words)
      lines[#lines + 1] = name .. " " .. table.concat(words, " ")
    end
    for _, columns in ipairs(described.unique) do
      lines[#lines + 1] = name .. " unique " .. table.concat(columns, " ")
    end
    for _, index in ipairs(described.indexes) do
      lines[#lines + 1] = name .. " index " .. table.concat(index.columns, " ")
    end
    for _, check in ipairs(described.checks) do
      lines[#lines + 1] = name .. " " .. check.name .. " " .. check.sql
    end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

describe("two states by chance", function()
  it("are joined by what lies between them, both ways", function()
    for seed = 1, SEEDS do
      local chance = chances(seed * 7919)
      local from, to = state_of(chance), state_of(chance)
      local at, back = from:copy(), {}
      for i, op in ipairs(between(from, to, chance).operations) do
        back[i] = operations.inverse(op, at)
        operations.apply(op, at)
      end
      assert.equal(text_of(to), text_of(at), "seed " .. seed)
      for i = #back, 1, -1 do
        operations.apply(back[i], at)
      end
      assert.equal(text_of(from), text_of(at), "back, seed " .. seed)
    end
  end)
end)

for _, backend in ipairs(backends.all({})) do
  describe("states by chance on " .. backend.name .. " #slow", function()
    local database = backend.database

    setup(backend.make)
    teardown(backend.drop)

    --- What there would be, had it been made at once.
    local function picture_of(state)
      local migration = between(State(), state, chances(1))
      local seen
      local found = { path = "migrations", app = "anew", migrations = { migration } }
      migration.number = 1
      runner.amigrate(database, found, {})
      seen = pictures.atake(database)
      runner.amigrate(database, found, { target = 0 })
      return seen
    end

    it("follow each other as if each had been made at once, and back", function()
      local seed = os.getenv("RILLE_SPEC_SEED") or os.time() % 100000 + 1
      local chance = chances(tonumber(seed))
      local states, seen = { [0] = State() }, {}
      local found = { path = "migrations", app = "spec", migrations = {} }
      for i = 1, CHANGES do
        states[i] = state_of(chance)
        seen[i] = picture_of(states[i])
        local migration = between(folder.state(found.migrations), states[i], chance)
        migration.name, migration.number = ("%04d_x"):format(i), i
        found.migrations[i] = migration
      end
      for i = 1, CHANGES do
        runner.amigrate(database, found, { target = i })
        assert.equal(seen[i], pictures.atake(database), "seed " .. seed .. ", change " .. i)
      end
      for i = CHANGES - 1, 1, -1 do
        runner.amigrate(database, found, { target = i })
        assert.equal(seen[i], pictures.atake(database), "seed " .. seed .. ", back to " .. i)
      end
      runner.amigrate(database, found, { target = 0 })
      assert.equal("", pictures.atake(database), "seed " .. seed)
    end)
  end)
end
