--- Reads by key of many tasks that go to a real PostgreSQL as one statement.

local backends = require("spec.support.backends")
local databases = require("spec.support.databases")
local errors = require("rille.errors")
local models = require("rille.models")

local Shelf = models.define("coalesce_shelf", { name = models.text() }, { name = "Shelf" })
local Box = models.define("coalesce_box", {
  label = models.text(),
  code = models.uuid({ unique = true }),
  blob = models.bytes({ null = true }),
  data = models.json({ null = true }),
  shelf = models.foreign_key(Shelf, { null = true }),
}, { name = "Box" })

local BOXES = 40
-- Where all is collected before each resume, reads have waited too long to share before the last of
-- them is asked.
local stressed = os.getenv("RILLE_GC_STRESS")

local function code(i)
  return ("6ba7b810-9dad-11d1-80b4-%012x"):format(i)
end

for _, backend in ipairs(backends.all({ Shelf, Box }, "PostgreSQL")) do
  describe("reads by key on " .. backend.name, function()
    local rille = require("rille")
    local database, boxes = backend.database, Box.objects:using(backend.database)

    setup(function()
      backend.make()
      Shelf.objects:using(database):acreate({ id = 1, name = "upper" })
      local list = {}
      for i = 1, BOXES do
        list[i] = {
          id = i,
          label = "box " .. i,
          code = code(i),
          blob = i % 2 == 0 and "\0" .. i or nil,
          data = { n = i },
          shelf_id = i % 2 == 1 and 1 or nil,
        }
      end
      boxes:abulk_create(list)
    end)

    teardown(backend.drop)
    after_each(databases.close_all)

    --- Quick, and with a connection to share.
    local function learn(objects, given, whose)
      for i = 1, 50 do
        objects:aget(given)
        if i > 4 and (stressed or (whose or database):stats().reads > 0) then
          break
        end
      end
    end

    --- Ask for all at once. Returns what each has, and its error.
    local function all(objects, list)
      local jobs = {}
      for i, given in ipairs(list) do
        jobs[i] = function()
          return { pcall(objects.aget, objects, given) }
        end
      end
      local found, wrong = {}, {}
      for i, result in ipairs(rille.agather(jobs)) do
        if result[1] then
          found[i] = result[2]
        else
          wrong[i] = result[2]
        end
      end
      return found, wrong
    end

    local function keys(n)
      local list = {}
      for i = 1, n do
        list[i] = { pk = i }
      end
      return list
    end

    --- Until a bulk was among what `what` did: on a busy machine there need not be one at once.
    local function together(what)
      for _ = 1, stressed and 1 or 20 do
        local before = database:stats()
        what()
        local after = database:stats()
        if after.bulks > before.bulks then
          assert.is_true(after.coalesced - before.coalesced >= 2)
          return
        end
        rille.asleep(0.5)
      end
      assert.truthy(stressed, "they never went together")
    end

    it("have each its own instance", function()
      learn(boxes, { pk = 1 })
      together(function()
        local list = keys(BOXES)
        list[#list + 1] = { pk = 7 }
        local found, wrong = all(boxes, list)
        assert.same({}, wrong)
        for i = 1, BOXES do
          local box = found[i]
          assert.equal(Box._meta.instance, getmetatable(box))
          assert.equal(i, box.pk)
          assert.equal("box " .. i, box.label)
          assert.equal(code(i), box.code)
          assert.equal(i % 2 == 0 and "\0" .. i or nil, box.blob)
          assert.same({ n = i }, box.data)
          assert.equal(database, rawget(box, "_db"))
        end
        found[7].label = "another"
        assert.equal("box 7", found[BOXES + 1].label)
      end)
    end)

    it("that find nothing raise DoesNotExist, and bad keys what they are", function()
      learn(boxes, { pk = 1 })
      together(function()
        local found, wrong = all(boxes, { { pk = 1 }, { pk = 2 ^ 52 }, { pk = 3 }, { pk = "4" } })
        assert.equal("box 1", found[1].label)
        assert.is_true(errors.is_error(wrong[2], Box.DoesNotExist))
        assert.equal("Box matching query does not exist.", wrong[2].message)
        assert.equal("box 3", found[3].label)
        assert.equal("box 4", found[4].label)
      end)
    end)

    it("know uuids, related objects and parts of a row", function()
      local brief = boxes:only("code")
      local full = boxes:select_related("shelf")
      learn(brief, { code = code(1) })
      learn(full, { pk = 1 })
      together(function()
        local list = {}
        for i = 1, BOXES do
          list[i] = { code = i == 5 and code(i):upper():gsub("-", "") or code(i) }
        end
        local found, wrong = all(brief, list)
        assert.same({}, wrong)
        for i = 1, BOXES do
          assert.equal(i, found[i].pk)
          assert.is_nil(rawget(found[i], "label"))
        end
      end)
      together(function()
        local found, wrong = all(full, keys(BOXES))
        assert.same({}, wrong)
        for i = 1, BOXES do
          assert.equal(i % 2 == 1 and "upper" or nil, found[i].shelf and found[i].shelf.name)
        end
      end)
    end)

    it("stay one statement where several connections idle", function()
      local wide = databases.open("wide", database.settings, { max_connections = 4 })
      local own = Box.objects:using(wide)
      learn(own, { pk = 1 }, wide)
      local each, many = keys(BOXES), {}
      for i = 1, 160 do -- more than a batch takes
        many[i] = each[i % BOXES + 1]
      end
      for _ = 1, stressed and 1 or 20 do
        all(own, many) -- until there are two connections to share
        local before = wide:stats()
        all(own, each)
        local after = wide:stats()
        local bulks, coalesced = after.bulks - before.bulks, after.coalesced - before.coalesced
        if before.shared == 2 and bulks == 1 and coalesced == BOXES then
          return
        end
        rille.asleep(0.1)
      end
      assert.truthy(stressed, "they never were one")
    end)

    it("are statements in a transaction, and alone", function()
      learn(boxes, { pk = 1 })
      local before = database:stats().bulks
      database:atomic(function()
        for i = 1, 3 do
          assert.equal(i, boxes:aget({ pk = i }).pk)
        end
      end)
      boxes:aget({ pk = 1 })
      assert.equal(before, database:stats().bulks)
    end)

    it("are statements with coalesce = false", function()
      local single = databases.open("single", database.settings, { coalesce = false })
      local own = Box.objects:using(single)
      learn(own, { pk = 1 }, single)
      local found, wrong = all(own, keys(BOXES))
      assert.same({}, wrong)
      assert.equal("box 9", found[9].label)
      local stats = single:stats()
      assert.equal(0, stats.bulks)
      assert.is_true(stressed ~= nil or stats.reads > 0)
    end)

    it("go on when one of them is given up", function()
      learn(boxes, { pk = 1 })
      together(function()
        local tasks, found = {}, 0
        for i = 1, BOXES do
          tasks[i] = rille.spawn(function()
            local box = boxes:aget({ pk = i })
            found = found + (box.pk == i and 1 or 0)
          end)
        end
        rille.spawn(function()
          for i = 1, BOXES, 4 do
            tasks[i]:cancel()
          end
        end)
        for i = 1, BOXES do
          if i % 4 ~= 1 then
            tasks[i]:ajoin()
          end
        end
        assert.is_true(found >= BOXES - 10) -- those that were quicker than their end
      end)
    end)
  end)
end
