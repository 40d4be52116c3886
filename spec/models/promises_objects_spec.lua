--- What Django promises of objects and of what they are related to, and says in its own suites:
--- `asave`, `adelete`, `arefresh_from_db`, and the managers at both ends of a relation.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null
local signals = models.signals

local Simple = models.define("objects_simple", {
  field = models.integer(),
  touched = models.timestamp({ auto_now = true }),
}, { name = "Simple" })
local Related = models.define("objects_related", {
  simple = models.foreign_key(Simple, {
    null = true,
    on_delete = "cascade",
    related_name = "related",
  }),
  note = models.text({ default = "" }),
}, { name = "Related" })
local Many, Between
Many = models.define("objects_many", {
  simples = models.many_to_many(Simple, { related_name = "manies" }),
  through = models.many_to_many(Simple, {
    related_name = "+",
    through = function()
      return Between
    end,
  }),
  name = models.text({ default = "" }),
}, { name = "Many" })
Between = models.define("objects_between", {
  many = models.foreign_key(Many, { on_delete = "cascade" }),
  simple = models.foreign_key(Simple, { on_delete = "cascade" }),
  weight = models.integer({ default = 0 }),
}, { name = "Between" })

local raised_by, is = raised.by, raised.is

for _, backend in ipairs(backends.all({ Simple, Related, Many, Between })) do
  describe("on " .. backend.name, function()
    local database = backend.database
    local simples, related = Simple.objects:using(database), Related.objects:using(database)
    local manies = Many.objects:using(database)
    setup(backend.make)
    teardown(backend.drop)
    before_each(backend.empty)

    local function fields(query)
      return query:order_by("field"):values_list("field", { flat = true }):alist()
    end

    describe("asave", function()
      it("changes the row, and no other", function()
        local one, two = simples:acreate({ field = 1 }), simples:acreate({ field = 2 })
        one.field = 20
        one:asave()
        assert.same({ 2, 20 }, fields(simples))
        assert.equal(2, two:arefresh_from_db().field)
      end)

      it("writes what an object came with, and what it was given since", function()
        simples:acreate({ field = 1 })
        local one = related:acreate({ simple = simples:aget(), note = "old" })
        local part = related:only("simple"):aget()
        related:aupdate({ note = "new" })
        part:asave()
        assert.equal("new", one:arefresh_from_db().note)
        part.note = "given"
        part:asave()
        assert.equal("given", one:arefresh_from_db().note)
      end)

      it("does not lose a related object that is not saved", function()
        local new = Simple({ field = 1 })
        local one = Related({ simple = new })
        local err = raised_by(one.asave, one, { using = database })
        assert.truthy(is(errors.ValueError, err):find("unsaved related object 'simple'", 1, true))
        new:asave({ using = database })
        one:asave({ using = database })
        assert.equal(new.pk, one:arefresh_from_db().simple_id)
      end)

      it("of no fields does nothing and tells nobody", function()
        local one, told = simples:acreate({ field = 1 }), 0
        local function tell()
          told = told + 1
        end
        signals.pre_save:connect(tell, { sender = Simple })
        one.field = 7
        one:asave({ update_fields = {} })
        assert.same({ 0, 1 }, { told, simples:aget().field })
        one:asave({ update_fields = { "field" } })
        signals.pre_save:disconnect(tell, { sender = Simple })
        assert.same({ 1, 7 }, { told, simples:aget().field })
      end)

      it("raises for wishes that exclude each other, and rows that are not there", function()
        local one = simples:acreate({ field = 1 })
        for _, opts in ipairs({
          { force_insert = true, force_update = true },
          { force_insert = true, update_fields = { "field" } },
          { update_fields = { "shoes" } },
          { update_fields = { "pk" } },
        }) do
          is(errors.ValueError, raised_by(one.asave, one, opts))
        end
        simples:all():adelete()
        is(errors.DatabaseError, raised_by(one.asave, one, { force_update = true }))
        is(errors.DatabaseError, raised_by(one.asave, one, { update_fields = { "field" } }))
        one:asave()
        assert.equal(one.pk, simples:aget().pk)
      end)
    end)

    describe("adelete", function()
      it("takes the row and the key, and counts", function()
        local one = simples:acreate({ field = 1 })
        local total, counts = one:adelete()
        assert.same({ 1, { Simple = 1 } }, { total, counts })
        assert.is_nil(one.pk)
        assert.equal(0, simples:acount())
        is(errors.ValueError, raised_by(one.adelete, one))
      end)

      it("of what is gone already counts nothing", function()
        local one = simples:acreate({ field = 1 })
        local same = simples:aget()
        one:adelete()
        assert.equal(0, (same:adelete()))
      end)
    end)

    describe("arefresh_from_db", function()
      it("reads again, by a query if one is given", function()
        local one = simples:acreate({ field = 1 })
        simples:aupdate({ field = 20 })
        assert.equal(20, one:arefresh_from_db().field)
        simples:aupdate({ field = 30 })
        one:arefresh_from_db({ from_queryset = simples:filter({ field = 30 }) })
        assert.equal(30, one.field)
        is(Simple.DoesNotExist, raised_by(one.arefresh_from_db, one, {
          from_queryset = simples:filter({ field = 1 }),
        }))
        simples:all():adelete()
        is(Simple.DoesNotExist, raised_by(one.arefresh_from_db, one))
      end)

      it("reads the fields that are named, and leaves the others", function()
        local one = simples:acreate({ field = 1 })
        simples:aupdate({ field = 2 })
        one.touched = "2001-01-01 00:00:00+00"
        one:arefresh_from_db({ fields = { "field" } })
        assert.same({ 2, "2001-01-01 00:00:00+00" }, { one.field, one.touched })
        is(errors.ValueError, raised_by(one.arefresh_from_db, one, {
          fields = { "related__note" },
        }))
      end)

      it("forgets what is related", function()
        local one, two = simples:acreate({ field = 1 }), simples:acreate({ field = 2 })
        local its = related:acreate({ simple = one })
        local known = related:select_related("simple"):aget()
        assert.equal(1, known.simple.field)
        related:aupdate({ simple = two })
        known:arefresh_from_db()
        is(errors.NotFetched, raised_by(function()
          return known.simple
        end))
        assert.equal(two.pk, known.simple_id)
        local owner = simples:prefetch_related("related"):aget({ pk = two.pk })
        related:acreate({ simple = two })
        assert.equal(1, owner.related:acount())
        assert.equal(2, owner:arefresh_from_db().related:acount())
        its:adelete()
      end)
    end)

    describe("the objects that point here", function()
      local one
      before_each(function()
        one = simples:acreate({ field = 1 })
      end)

      it("are made, found and updated as the owner's", function()
        local made = one.related:acreate({ note = "a" })
        assert.equal(one.pk, made.simple_id)
        local found, created = one.related:aget_or_create({ note = "a" })
        assert.same({ made, false }, { found, created })
        found, created = one.related:aget_or_create({ note = "b" })
        assert.same({ one.pk, true }, { found.simple_id, created })
        found, created = one.related:aupdate_or_create({ note = "b" }, { note = "c" })
        assert.same({ "c", false }, { found.note, created })
        found, created = one.related:aupdate_or_create({ note = "d" }, { note = "e" })
        assert.same({ "e", true, one.pk }, { found.note, created, found.simple_id })
        assert.equal(3, one.related:acount())
      end)

      it("are added, removed, cleared and set", function()
        local a, b = related:acreate({ note = "a" }), related:acreate({ note = "b" })
        assert.equal(2, one.related:aadd(a, b))
        assert.equal(2, one.related:acount())
        one.related:aremove(a)
        assert.equal(b, one.related:aget())
        one.related:aset({ a })
        assert.equal(a, one.related:aget())
        one.related:aset({ a, b }, { bulk = false })
        assert.equal(2, one.related:acount())
        one.related:aset({}, { clear = true })
        assert.equal(0, one.related:acount())
        one.related:aadd(a, b)
        one.related:aclear()
        assert.equal(2, related:filter({ simple = null }):acount())
      end)

      it("must be saved, and of the model", function()
        for _, wrong in ipairs({ Related({ note = "x" }), simples:acreate({ field = 2 }), 7 }) do
          assert.truthy(raised_by(one.related.aadd, one.related, wrong))
        end
        local other = related:acreate({})
        is(Related.DoesNotExist, raised_by(one.related.aremove, one.related, other))
        local new = Related({ note = "x" })
        one.related:aadd(new, { bulk = false })
        assert.equal(new.pk, one.related:aget().pk)
      end)
    end)

    describe("pairs", function()
      local many, one, two
      before_each(function()
        many = manies:acreate({ name = "m" })
        one, two = simples:acreate({ field = 1 }), simples:acreate({ field = 2 })
      end)

      it("are made with a new object, at both ends", function()
        local new = many.simples:acreate({ field = 3 })
        assert.equal(new, many.simples:aget())
        local far = new.manies:acreate({ name = "n" })
        assert.equal(2, new.manies:acount())
        assert.same({ 3 }, fields(far.simples))
      end)

      it("are found or made, at both ends", function()
        local new, created = many.simples:aget_or_create({ field = 3 })
        assert.is_true(created)
        assert.equal(new, many.simples:aget())
        local again
        again, created = many.simples:aget_or_create({ field = 3 })
        assert.same({ new, false }, { again, created })
        local far
        far, created = new.manies:aget_or_create({ name = "n" })
        assert.is_true(created)
        assert.same({ 3 }, fields(far.simples))
        new, created = many.simples:aupdate_or_create({ field = 4 }, {}, { field = 5 })
        assert.same({ 5, true }, { new.field, created })
        new, created = many.simples:aupdate_or_create({ field = 5 }, { field = 6 })
        assert.same({ 6, false }, { new.field, created })
        assert.same({ 3, 6 }, fields(many.simples))
        far, created = new.manies:aupdate_or_create({ name = "m" }, { name = "o" })
        assert.same({ many, "o", false }, { far, far.name, created })
      end)

      it("are added once, removed, cleared and set, at both ends", function()
        many.simples:aadd(one, two.pk)
        many.simples:aadd(one)
        assert.same({ 1, 2 }, fields(many.simples))
        one.manies:aremove(many)
        assert.same({ 2 }, fields(many.simples))
        many.simples:aremove(one, two)
        assert.equal(0, many.simples:acount())
        many.simples:aset({ one })
        assert.same({ 1 }, fields(many.simples))
        many.simples:aset({})
        assert.equal(0, many.simples:acount())
        many.simples:aset({ one }, { clear = true })
        two.manies:aset({ many })
        assert.same({ 1, 2 }, fields(many.simples))
        two.manies:aclear()
        assert.same({ 1 }, fields(many.simples))
        many.simples:aclear()
        assert.equal(0, many.simples:acount())
        assert.equal(2, simples:acount())
      end)

      it("have rows between that are given what they hold", function()
        local weights = function()
          return Between.objects:using(database):order_by("simple__field")
            :values_list("weight", { flat = true }):alist()
        end
        many.through:aadd(one, { through_defaults = { weight = 3 } })
        many.through:acreate({ field = 7 }, { through_defaults = { weight = 4 } })
        assert.same({ 3, 4 }, weights())
        many.through:aget_or_create({ field = 8 }, nil, { through_defaults = { weight = 5 } })
        many.through:aset({ one, two }, { through_defaults = { weight = 6 } })
        assert.same({ 3, 6 }, weights())
        assert.same({ 1, 2 }, fields(many.through))
      end)

      it("are only of what is saved", function()
        local new = Many({ name = "x" })
        is(errors.ValueError, raised_by(function()
          return new.simples
        end))
        is(errors.ValueError, raised_by(many.simples.aadd, many.simples, Simple({ field = 9 })))
        is(errors.ValueError, raised_by(many.simples.aadd, many.simples, many))
      end)
    end)
  end)
end
