--- What Django promises of each `a` method of a query and says in its own suites, `async` first of
--- all: results, what is not asked again, and which mistakes are which errors.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
local statements = require("spec.support.statements")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")

local F = models.F
local promises = require("spec.models.promises")()
local Simple, Related, Country = promises.Simple, promises.Related, promises.Country
local fields = promises.fields
local raised_by, is, says = raised.by, raised.is, raised.says

for _, backend in ipairs(backends.all(promises.all)) do
  describe("on " .. backend.name, function()
    local database = backend.database
    local simples, related = Simple.objects:using(database), Related.objects:using(database)
    local countries = Country.objects:using(database)
    local s1, s2, s3, sent

    setup(backend.make)
    teardown(backend.drop)
    before_each(function()
      backend.empty()
      s1, s2, s3 = promises.make_three(database)
    end)

    --- Run `fn`, and count its statements.
    local function count(fn)
      local result
      sent, result = statements.count(database, fn)
      return result
    end

    describe("alist", function()
      it("gives rows, also as values, and a second time without asking", function()
        local query = simples:order_by("field")
        assert.same({ 1, 2, 3 }, fields(query:alist()))
        count(function()
          assert.same({ 1, 2, 3 }, fields(query:alist()))
          assert.equal(3, query:acount())
          assert.is_true(query:aexists())
          assert.is_true(query:acontains(s2))
        end)
        assert.equal(0, sent)
        assert.same({ { field = 1 }, { field = 2 }, { field = 3 } }, query:values("field"):alist())
        local pairs_of = query:values_list("field", "pk"):alist()
        assert.same({ { 1, s1.pk }, { 2, s2.pk }, { 3, s3.pk } }, pairs_of)
        assert.same({ 1, 2, 3 }, query:values_list("field", { flat = true }):alist())
        says("exactly one field", raised_by(query.values_list, query, "field", "pk", {
          flat = true,
        }))
      end)

      it("is asked again of what a builder gives, and after rows were changed", function()
        local query = simples:order_by("field")
        query:alist()
        count(function()
          query:all():alist()
          query:filter({ field__gt = 0 }):alist()
        end)
        assert.equal(2, sent)
        query:aupdate({ field = F("field") + 10 })
        assert.same({ 11, 12, 13 }, fields(query:alist()))
      end)
    end)

    describe("aiterator", function()
      it("goes through all, in chunks of any size", function()
        for _, size in ipairs({ 1, 2, 3, 2000 }) do
          local found = {}
          for one in simples:order_by("field"):aiterator({ chunk_size = size }) do
            found[#found + 1] = one.field
          end
          assert.same({ 1, 2, 3 }, found)
        end
      end)

      it("refuses a chunk of nothing, or less", function()
        for _, size in ipairs({ 0, -1, 1.5 }) do
          local err = raised_by(simples.aiterator, simples, { chunk_size = size })
          says("Chunk size must be strictly positive.", err)
        end
      end)

      it("brings along what is prefetched, and remembers nothing", function()
        local query = simples:order_by("pk"):prefetch_related("related")
        count(function()
          for one in query:aiterator({ chunk_size = 2 }) do
            assert.equal(1, #one.related:alist())
          end
        end)
        assert.equal(4, sent) -- two chunks, and what belongs to each
        assert.is_nil(query.cached)
      end)
    end)

    describe("acount", function()
      it("counts", function()
        assert.equal(3, simples:acount())
        assert.equal(2, simples:limit(2):acount())
        assert.equal(1, simples:order_by("pk"):offset(2):acount())
        assert.equal(0, simples:none():acount())
        assert.equal(3, simples:values("created"):distinct():acount())
      end)
    end)

    describe("aget", function()
      it("gets the one there is", function()
        assert.equal(s1, simples:aget({ field = 1 }))
        assert.equal(s1, simples:filter({ field = 1 }):aget())
        assert.equal(s3, simples:order_by("-field"):limit(1):aget())
        assert.same({ field = 2 }, simples:values("field"):aget({ field = 2 }))
      end)

      it("raises when there is none, or more", function()
        local message = is(Simple.DoesNotExist, raised_by(simples.aget, simples, { field = 9 }))
        assert.equal("Simple matching query does not exist.", message)
        message = is(Simple.MultipleObjectsReturned, raised_by(simples.aget, simples, {
          field__gte = 2,
        }))
        assert.equal("get() returned more than one Simple -- it returned 2!", message)
        local many = {}
        for i = 1, 22 do
          many[i] = { field = 50 }
        end
        simples:abulk_create(many)
        message = is(Simple.MultipleObjectsReturned, raised_by(simples.aget, simples, {
          field = 50,
        }))
        assert.equal("get() returned more than one Simple -- it returned more than 20!", message)
      end)

      it("takes no conditions behind a slice or a union", function()
        local slice = simples:limit(2)
        says("once a slice has been taken", raised_by(slice.aget, slice, { field = 1 }))
        local union = simples:filter({ field = 1 }):union(simples:filter({ field = 1 }))
        is(errors.NotSupportedError, raised_by(union.aget, union, { field = 1 }))
        assert.equal(s1, union:aget())
      end)
    end)

    describe("acreate", function()
      it("inserts, and never updates", function()
        local s4 = simples:acreate({ field = 4 })
        assert.equal(s4, simples:aget({ field = 4 }))
        is(errors.IntegrityError, raised_by(simples.acreate, simples, { pk = s4.pk, field = 5 }))
        assert.equal(4, simples:aget({ pk = s4.pk }).field)
        is(errors.FieldError, raised_by(simples.acreate, simples, { shoes = 1 }))
      end)
    end)

    describe("aget_or_create", function()
      it("makes one at the first call and finds it at the next", function()
        local s4, created = simples:aget_or_create({ field = 4 })
        assert.is_true(created)
        local again
        again, created = simples:aget_or_create({ field = 4 })
        assert.same({ s4, false }, { again, created })
      end)

      it("looks for more than it sets, and calls what is a function", function()
        local one, created = countries:aget_or_create({ name = "Fr", iso__startswith = "f" }, {
          iso = function()
            return "fr"
          end,
        })
        assert.same({ "fr", "Fr", true }, { one.iso, one.name, created })
        is(errors.FieldError, raised_by(countries.aget_or_create, countries, { shoes = 1 }))
        is(errors.FieldError, raised_by(countries.aget_or_create, countries, { iso = "x" }, {
          shoes = 1,
        }))
      end)

      it("raises what the database says when it is not about the same object", function()
        countries:acreate({ iso = "fr", name = "France" })
        is(errors.IntegrityError, raised_by(countries.aget_or_create, countries, { name = "x" }, {
          iso = "fr",
        }))
        assert.equal(1, countries:acount()) -- and a transaction around it goes on
        database:atomic(function()
          is(errors.IntegrityError, raised_by(countries.aget_or_create, countries, {
            name = "x",
          }, { iso = "fr" }))
          assert.equal(1, countries:acount())
        end)
        is(Simple.MultipleObjectsReturned, raised_by(simples.aget_or_create, simples, {
          field__gt = 0,
        }))
      end)
    end)

    describe("aupdate_or_create", function()
      it("updates what is there, with the time of a save, or makes it", function()
        local one, created = countries:aupdate_or_create({ iso = "fr" }, { name = "A" })
        assert.same({ "A", true }, { one.name, created })
        countries:aupdate({ seen = "2001-01-01T00:00:00Z", people = 5 })
        local people = F("people") + 1
        one, created = countries:aupdate_or_create({ iso = "fr" }, { name = "B", people = people })
        assert.is_false(created)
        local fresh = countries:aget()
        assert.same({ "B", 6 }, { fresh.name, fresh.people })
        assert.equal(one, fresh)
        assert.is_true(fresh.seen > "2002")
      end)

      it("makes with other values than it updates with", function()
        local one = countries:aupdate_or_create({ iso = "fr" }, { name = "A" }, { name = "new" })
        assert.equal("new", one.name)
        one = countries:aupdate_or_create({ iso = "fr" }, { name = "A" }, { name = "new" })
        assert.equal("A", one.name)
      end)
    end)

    describe("abulk_create", function()
      local function iso_of(list)
        local found = {}
        for i, one in ipairs(list) do
          found[i] = one.iso .. "=" .. one.name
        end
        return table.concat(found, " ")
      end

      it("inserts with keys filled in, and asks nothing for nothing", function()
        local made = simples:abulk_create({ Simple({ field = 4 }), { field = 5 } })
        assert.same({ 4, 5 }, fields(made))
        assert.equal(made[2], simples:aget({ field = 5 }))
        count(function()
          assert.same({}, simples:abulk_create({}))
        end)
        assert.equal(0, sent)
      end)

      it("leaves out, or updates, what is there already", function()
        local all = { { iso = "fr", name = "France" }, { iso = "de", name = "Germany" } }
        countries:abulk_create(all)
        local new = { { iso = "fr", name = "F" }, { iso = "it", name = "I" } }
        countries:abulk_create(new, { ignore_conflicts = true })
        local sorted = countries:order_by("iso")
        assert.equal("de=Germany fr=France it=I", iso_of(sorted:alist()))
        countries:abulk_create(new, {
          update_conflicts = true,
          update_fields = { "name" },
          unique_fields = { "iso" },
        })
        assert.equal("de=Germany fr=F it=I", iso_of(sorted:all():alist()))
        is(errors.IntegrityError, raised_by(countries.abulk_create, countries, {
          { iso = "es", name = "E" },
          { iso = "fr", name = "F" },
        }))
        assert.equal(3, countries:acount()) -- nothing of it
      end)

      it("refuses options that make no sense", function()
        for _, case in ipairs({
          { "Batch size must be a positive integer", { batch_size = 0 } },
          { "Batch size must be a positive integer", { batch_size = -1 } },
          { "mutually exclusive", { ignore_conflicts = true, update_conflicts = true } },
          { "Fields that will be updated", { update_conflicts = true, unique_fields = { "iso" } } },
          { "Unique fields", { update_conflicts = true, update_fields = { "name" } } },
          {
            "primary keys in update_fields",
            { update_conflicts = true, update_fields = { "id" }, unique_fields = { "iso" } },
          },
          {
            "which is no field",
            { update_conflicts = true, update_fields = { "shoes" }, unique_fields = { "iso" } },
          },
        }) do
          local err = raised_by(countries.abulk_create, countries, { { iso = "x" } }, case[2])
          is(errors.ValueError, err)
          says(case[1], err)
        end
      end)
    end)

    describe("abulk_update", function()
      it("writes the fields that are named, and tells how many rows", function()
        for _, one in ipairs({ s1, s2, s3 }) do
          one.field = one.field * 10
        end
        assert.equal(3, simples:abulk_update({ s1, s2, s3 }, { "field" }, { batch_size = 2 }))
        assert.same({ 10, 20, 30 }, fields(simples:order_by("field"):alist()))
        s2:adelete()
        s2.pk = 123456
        assert.equal(2, simples:abulk_update({ s1, s2, s3 }, { "field" }))
        assert.equal(0, simples:abulk_update({}, { "field" }))
      end)

      it("refuses what makes no sense", function()
        for _, case in ipairs({
          { "Batch size must be a positive integer", { s1 }, { "field" }, { batch_size = -1 } },
          { "Field names must be given", { s1 }, {} },
          { "must have a primary key set", { Simple({ field = 1 }) }, { "field" } },
          { "cannot be used with primary key fields", { s1 }, { "id" } },
          { "which is no field of Simple", { s1 }, { "related" } },
        }) do
          local err = raised_by(simples.abulk_update, simples, unpack(case, 2))
          is(errors.ValueError, err)
          says(case[1], err)
        end
      end)
    end)

    describe("ain_bulk", function()
      it("gives objects by their keys, or by another unique field", function()
        assert.same({ [s1.pk] = s1, [s2.pk] = s2, [s3.pk] = s3 }, simples:ain_bulk())
        assert.same({ [s2.pk] = s2 }, simples:ain_bulk({ s2.pk, 12345 }))
        count(function()
          assert.same({}, simples:ain_bulk({}))
        end)
        assert.equal(0, sent)
        countries:acreate({ iso = "fr", name = "France" })
        local found = countries:ain_bulk({ "fr", "xx" }, { field_name = "iso" })
        assert.equal("France", found.fr.name)
        assert.is_nil(found.xx)
        assert.same({}, simples:filter({ field = 9 }):ain_bulk({ s1.pk }))
      end)

      it("refuses a slice, values, and a field that is not unique", function()
        local slice, values = simples:limit(2), simples:values("pk")
        says("once a slice has been taken", raised_by(slice.ain_bulk, slice, { 1 }))
        says("values() or values_list()", raised_by(values.ain_bulk, values, { 1 }))
        says("needs a unique field", raised_by(simples.ain_bulk, simples, { 1 }, {
          field_name = "field",
        }))
      end)
    end)

    describe("aearliest and alatest", function()
      it("go by fields, or by what the model says", function()
        assert.equal(s3, simples:alatest("created"))
        assert.equal(s1, simples:aearliest("created"))
        assert.equal(s3, simples:aearliest("-created"))
        assert.equal(s1, simples:alatest("-field", "pk"))
        countries:abulk_create({ { iso = "fr", name = "F" }, { iso = "de", name = "D" } })
        assert.same({ "fr", "de" }, { countries:alatest().iso, countries:aearliest().iso })
      end)

      it("raise when there is none, nothing to go by, or a slice", function()
        is(Country.DoesNotExist, raised_by(countries.alatest, countries))
        is(Simple.DoesNotExist, raised_by(function()
          simples:none():aearliest("pk")
        end))
        says("get_latest_by", raised_by(simples.alatest, simples))
        local slice = simples:limit(1)
        says("once a slice has been taken", raised_by(slice.alatest, slice, "pk"))
      end)
    end)

    describe("afirst and alast", function()
      it("go by the order, or else by the key, or give nil", function()
        assert.same({ s1, s3 }, { simples:afirst(), simples:alast() })
        local down = simples:order_by("-field")
        assert.same({ s3, s1 }, { down:afirst(), down:alast() })
        assert.equal(s2, simples:order_by("pk"):offset(1):afirst())
        local none = simples:filter({ field = 9 })
        assert.is_nil(none:afirst())
        assert.is_nil(none:alast())
      end)

      it("refuse groups that have no order, and the last of a slice", function()
        local groups = simples:values("created"):annotate({ n = models.Count("id") })
        says("unordered query of groups", raised_by(groups.afirst, groups))
        says("unordered query of groups", raised_by(groups.alast, groups))
        local slice = simples:limit(2)
        says("once a slice has been taken", raised_by(slice.alast, slice))
      end)
    end)

    describe("aaggregate", function()
      it("names what has no name, and needs a name for what is complex", function()
        local total = simples:aaggregate({ total = models.Sum("field") })
        assert.same({ total = 6 }, total)
        assert.same({ field__max = 3 }, simples:aaggregate({ models.Max("field") }))
        local complex = { models.Sum(F("field") + 1) }
        says("Complex aggregates require an alias", raised_by(simples.aaggregate, simples, complex))
        says("is no expression", raised_by(simples.aaggregate, simples, { total = 7 }))
      end)

      it("over no rows gives nothing, zero, or the default", function()
        for _, none in ipairs({ simples:none(), simples:filter({ field = 9 }) }) do
          assert.same({ n = 0, d = 5 }, none:aaggregate({
            n = models.Count("*"),
            d = models.Sum("field", { default = 5 }),
            sum = models.Sum("field"),
          }))
        end
      end)

      it("goes by what is there after a slice", function()
        local two = simples:order_by("-field"):limit(2)
        assert.same({ s = 5 }, two:aaggregate({ s = models.Sum("field") }))
      end)
    end)

    describe("aexists and acontains", function()
      it("ask for no more than one row", function()
        assert.is_false(simples:filter({ field = 4 }):aexists())
        assert.is_true(simples:filter({ field = 1 }):aexists())
        assert.is_true(simples:acontains(s1))
        assert.is_false(simples:filter({ field = 2 }):acontains(s1))
        assert.is_true(simples:order_by("pk"):limit(2):acontains(s2))
        assert.is_false(simples:order_by("pk"):limit(2):acontains(s3))
      end)

      it("refuse what can be among no rows", function()
        says("has not been saved", raised_by(simples.acontains, simples, Simple({ field = 1 })))
        says("needs an object of a model", raised_by(simples.acontains, simples, 1))
        assert.is_false(simples:acontains(related:afirst()))
        local values = simples:values("pk")
        says("after values", raised_by(values.acontains, values, s1))
      end)
    end)

    describe("aupdate", function()
      it("tells how many rows matched, and takes expressions", function()
        assert.equal(2, simples:filter({ field__gt = 1 }):aupdate({ field = F("field") * 10 }))
        assert.same({ 1, 20, 30 }, fields(simples:order_by("field"):alist()))
        assert.equal(0, simples:filter({ field = 9 }):aupdate({ field = 1 }))
        assert.equal(1, related:filter({ simple__field = 1 }):aupdate({ simple = s2 }))
        assert.equal(2, s2.related:acount())
      end)

      it("refuses slices, unions, and what is behind a relation", function()
        local slice = simples:limit(1)
        says("once a slice has been taken", raised_by(slice.aupdate, slice, { field = 1 }))
        local union = simples:union(simples)
        is(errors.NotSupportedError, raised_by(union.aupdate, union, { field = 1 }))
        is(errors.FieldError, raised_by(related.aupdate, related, { simple__field = 1 }))
        local far = { simple = F("simple__field") }
        is(errors.FieldError, raised_by(related.aupdate, related, far))
        is(errors.FieldError, raised_by(simples.aupdate, simples, { shoes = 1 }))
      end)
    end)

    describe("adelete", function()
      it("counts what went, by model", function()
        local total, counts = simples:filter({ field = 3 }):adelete()
        assert.same({ 2, { Simple = 1, Related = 1 } }, { total, counts })
        assert.same({ 1, 2 }, fields(simples:order_by("field"):alist()))
      end)

      it("refuses slices, distinct rows, values and unions", function()
        for text, query in pairs({
          ["'limit' or 'offset'"] = simples:limit(1),
          ["after distinct"] = simples:distinct(),
          ["after values"] = simples:values("pk"),
          ["after union"] = simples:union(simples:filter({ field = 1 })),
        }) do
          says(text, raised_by(query.adelete, query))
        end
        assert.equal(3, simples:acount())
      end)
    end)

    describe("aexplain", function()
      it("tells how, in the formats there are", function()
        assert.truthy(simples:filter({ field = 1 }):aexplain():find("promises_simple", 1, true))
        is(errors.ValueError, raised_by(simples.aexplain, simples, { format = "xyz" }))
        is(errors.ValueError, raised_by(simples.aexplain, simples, { test = true }))
        if backend.name == "PostgreSQL" then
          for format, mark in pairs({ text = "Scan", json = "{", yaml = "- Plan", xml = "<" }) do
            local told = simples:aexplain({ format = format, verbose = true })
            assert.truthy(told:find(mark, 1, true), told)
          end
        end
      end)
    end)
  end)
end
