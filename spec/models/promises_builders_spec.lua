--- What Django promises of what a query is made of, and says in its own suites: filters, slices,
--- unions, locks, SQL of one's own.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
local statements = require("spec.support.statements")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")
local null = require("rille.core").null

local Q, F = models.Q, models.F
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

    describe("raw", function()
      it("makes objects of one's own SQL", function()
        local sql = "SELECT id, field, created FROM promises_simple WHERE created >= $1"
        local found = {}
        local since = "2022-01-02 00:00:00+00"
        for one in simples:raw(sql .. " ORDER BY field", since):aiterator() do
          found[#found + 1] = one
        end
        assert.same({ s2, s3 }, found)
      end)
    end)

    describe("union, intersection and difference", function()
      local low, high
      before_each(function()
        low, high = simples:filter({ field__lte = 2 }), simples:filter({ field__gte = 2 })
      end)

      it("order, slice, count and give values", function()
        local both = low:union(high)
        assert.equal(3, both:acount())
        assert.same({ 3, 2 }, fields(both:order_by("-field"):limit(2):alist()))
        assert.same({ 2 }, fields(both:order_by("field"):offset(1):limit(1):alist()))
        assert.same({ 1, 3 }, { both:afirst().field, both:alast().field })
        assert.same({ 2 }, fields(low:intersection(high):alist()))
        assert.same({ 1 }, fields(low:difference(high):alist()))
        assert.equal(4, low:union(high, { all = true }):acount())
        local values = both:values_list("field", { flat = true })
        assert.same({ 1, 2, 3 }, values:order_by("field"):alist())
        assert.same({ { field = 3 } }, both:values("field"):order_by("-field"):limit(1):alist())
        local own = low:values_list("field", "pk"):union(high:values_list("field", "pk"))
        assert.same({ { 3, s3.pk } }, own:order_by("-field"):limit(1):alist())
      end)

      it("take queries that are sliced and ordered themselves", function()
        local last, first = simples:order_by("-field"):limit(1), simples:order_by("field"):limit(1)
        assert.same({ 1, 3 }, fields(last:union(first):order_by("field"):alist()))
      end)

      it("refuse everything else", function()
        local both = low:union(high)
        local refused = "filter exclude annotate alias distinct only defer select_related"
          .. " prefetch_related aupdate adelete acontains select_for_update aaggregate"
        for name in refused:gmatch("%S+") do
          local given = name == "acontains" and s1 or name == "annotate" and { x = F("field") }
            or { field = 1 }
          is(errors.NotSupportedError, raised_by(both[name], both, given))
        end
      end)
    end)

    describe("a filter", function()
      local function found(...)
        return fields(simples:filter(...):order_by("field"):alist())
      end

      it("asks nothing where no row, or every row, can match", function()
        count(function()
          assert.same({}, found({ field__in = {} }))
          assert.same({}, found({ field__in = { null } }))
          assert.same({}, found({ field = 2 ^ 40 }))
          assert.same({}, found({ field__lt = -2 ^ 40 }))
        end)
        assert.equal(0, sent)
        assert.same({ 1, 2, 3 }, found({ field__lt = 2 ^ 40 }))
        assert.same({ 1, 2, 3 }, found(-Q({ field__in = {} })))
        assert.same({ 1 }, found({ field__in = { null, 1, 1 } }))
      end)

      it("takes fractions beside integers for what they are", function()
        assert.same({ 2, 3 }, found({ field__gt = 1.5 }))
        assert.same({ 2, 3 }, found({ field__gte = 1.5 }))
        assert.same({ 1 }, found({ field__lt = 1.5 }))
        assert.same({ 1 }, found({ field__lte = 1.5 }))
      end)

      it("takes null for a look for NULL, and only there", function()
        countries:acreate({ iso = "fr", name = "F", people = 1 })
        countries:acreate({ iso = "de", name = "D" })
        assert.equal("de", countries:aget({ people = null }).iso)
        assert.equal("de", countries:aget({ people__isnull = true }).iso)
        assert.equal("fr", countries:exclude({ people = null }):aget().iso)
        is(errors.ValueError, raised_by(countries.filter, countries, { people__gt = null }))
        is(errors.ValueError, raised_by(countries.filter, countries, { people__isnull = 1 }))
      end)

      it("takes a query for one value only if it gives but one", function()
        local last = simples:order_by("-field"):values("field"):limit(1)
        assert.same({ 3 }, found({ field = last }))
        assert.same({ 1, 2 }, found({ field__lt = last }))
        local many = simples:values("field")
        for _, wrong in ipairs({ many, many:order_by("field"):limit(2), many:limit(3) }) do
          local err = raised_by(simples.filter, simples, { field = wrong })
          is(errors.ValueError, err)
          says("must be limited to one result", err)
        end
        assert.same({ 1 }, found({ field = many:order_by("field"):limit(1) }))
        assert.same({ 1, 2, 3 }, found({ field__in = many }))
      end)

      it("takes objects for what they are related by", function()
        assert.equal(s2.pk, related:aget({ simple = s2 }).simple_id)
        assert.equal(2, related:filter({ simple__in = { s1, s3.pk } }):acount())
        assert.equal(s1, simples:aget({ related = related:aget({ simple = s1 }) }))
        is(errors.ValueError, raised_by(related.filter, related, { simple = related:afirst() }))
        is(errors.ValueError, raised_by(related.filter, related, { simple = Simple({}) }))
      end)

      it("says what it could have been", function()
        for key, text in pairs({
          shoes = "Cannot resolve keyword 'shoes' into field. Choices are: created, field, id",
          field__shoes = "Unsupported lookup 'shoes' for the integer field 'field'",
          related__shoes = "Cannot resolve keyword 'shoes' into field. Choices are: id, simple",
        }) do
          local err = raised_by(simples.filter, simples, { [key] = 1 })
          is(errors.FieldError, err)
          says(text, err)
        end
      end)

      it("keeps what it was told when its builders go on", function()
        local low = simples:filter({ field__lt = 3 })
        local one = low:filter({ field = 1 })
        low:order_by("-field")
        assert.same({ 1, 2 }, fields(low:order_by("field"):alist()))
        assert.same({ 1 }, fields(one:alist()))
      end)
    end)

    describe("select_for_update", function()
      it("is for a transaction, which is asked for when it is fetched", function()
        local locking = simples:select_for_update()
        is(errors.TransactionManagementError, raised_by(locking.alist, locking))
        database:atomic(function()
          assert.equal(3, #locking:alist())
          assert.equal(s1, simples:select_for_update({ nowait = true }):aget({ field = 1 }))
          assert.equal(3, simples:select_for_update():acount())
        end)
        says("exclude each other", raised_by(simples.select_for_update, simples, {
          nowait = true,
          skip_locked = true,
        }))
      end)

      if backend.name == "PostgreSQL" then
        it("waits not, or goes past, where somebody else has the lock", function()
          local task = require("rille.task")
          database:atomic(function()
            simples:select_for_update():aget({ field = 1 })
            local told, rest
            task.spawn(function()
              told = raised_by(database.atomic, database, function()
                simples:select_for_update({ nowait = true }):alist()
              end)
              rest = database:atomic(function()
                return fields(simples:order_by("field")
                  :select_for_update({ skip_locked = true }):alist())
              end)
            end)
            require("spec.support.eventually")(function()
              return rest ~= nil
            end)
            is(errors.OperationalError, told)
            assert.same({ 2, 3 }, rest)
          end)
        end)
      end
    end)

    describe("distinct", function()
      it("takes an order by what the rows do not have", function()
        for i = 1, 3 do
          related:acreate({ simple = i < 3 and s1 or s2 })
        end
        local twice = simples:filter({ related__id__gt = 0 })
        assert.equal(6, twice:acount())
        local once = twice:distinct()
        assert.equal(3, once:acount())
        assert.same({ 1, 2, 3 }, once:values_list("field", { flat = true }):order_by("pk"):alist())
        assert.same({ 3, 2 }, once:order_by("-pk"):limit(2)
          :values_list("field", { flat = true }):alist())
        assert.same({ { field = 3 } }, once:order_by("-pk"):offset(0):limit(1)
          :values("field"):alist())
        assert.equal(s3, once:order_by(-F("field")):afirst())
        local more = once:order_by("related__id") -- which tells them apart, as in Django
        assert.equal(6, #more:alist())
        assert.equal(3, more:all():acount())
        assert.same({ n = 3 }, more:aaggregate({ n = models.Count("pk") }))
        local with = related:select_related("simple"):distinct():order_by("simple__field", "pk")
        assert.equal(1, with:afirst().simple.field)
      end)
    end)

    describe("a text", function()
      it("is compared with other fields, as they are", function()
        for iso, name in pairs({ fr = "fr%ance", de = "allemagne", ["%_"] = "x", xx = "X%" }) do
          countries:acreate({ iso = iso, name = name })
        end
        local function found(...)
          return countries:filter(...):order_by("iso"):values_list("iso", { flat = true }):alist()
        end
        for lookup, wanted in pairs({
          name__startswith = { "fr" },
          name__istartswith = { "fr" },
          name__contains = { "fr" },
          name__icontains = { "fr" },
          name__endswith = {},
          name__iexact = {},
        }) do
          assert.same(wanted, found({ [lookup] = F("iso") }), lookup)
        end
        local upper = models.Upper("iso")
        assert.same({}, found({ name__startswith = upper }))
        assert.same({ "fr" }, found({ name__istartswith = upper }))
        countries:filter({ iso = "xx" }):aupdate({ name = "yxX" })
        assert.same({ "xx" }, found({ name__iendswith = F("iso") }))
        assert.same({}, found({ name__endswith = F("iso") }))
        assert.same({ "%_", "de", "fr" }, (function(list)
          table.sort(list)
          return list
        end)(countries:exclude({ name__iendswith = F("iso") })
          :values_list("iso", { flat = true }):alist()))
      end)
    end)

    describe("a range", function()
      it("may end at another field", function()
        for _ = 1, 2 do
          assert.equal(2, simples:filter({ field__range = { 1, 2 } }):acount())
          assert.equal(2, simples:filter({ field__range = { F("field"), 2 } }):acount())
          assert.equal(2, simples:filter({ field__range = { 2, F("field") } }):acount())
        end
        local by = simples:annotate({ low = F("field") - 1 })
        assert.equal(3, by:filter({ field__range = { F("low"), 3 } }):acount())
        assert.equal(1, by:filter({ field__range = { F("low") + 1, 1 } }):acount())
        assert.equal(2, by:exclude({ field__range = { 1, F("low") + 2 }, field = 1 }):acount())
      end)
    end)

    describe("only and defer", function()
      it("take what they are told, and nothing else", function()
        local one = simples:only("field"):aget({ field = 1 })
        is(errors.NotFetched, raised_by(function()
          return one.created
        end))
        assert.equal(s1.created, simples:defer("field"):defer(null):aget({ field = 1 }).created)
        says("Cannot pass null", raised_by(simples.only, simples, null))
        local values = simples:values("pk")
        says("after values", raised_by(values.only, values, "field"))
        says("after values", raised_by(values.defer, values, "field"))
        says("after values", raised_by(values.select_related, values))
      end)
    end)

    describe("a slice", function()
      it("is cut once and then no more filtered, ordered or turned round", function()
        local slice = simples:order_by("field"):offset(1):limit(2)
        assert.same({ 2, 3 }, fields(slice:alist()))
        assert.same({ 3 }, fields(slice:offset(1):alist()))
        assert.same({}, fields(slice:offset(5):alist()))
        for _, name in ipairs({ "filter", "exclude", "order_by", "reverse" }) do
          says("once a slice has been taken", raised_by(slice[name], slice, { field = 1 }))
        end
        for _, wrong in ipairs({ -1, 0.5, "1", 0 / 0 }) do
          says("needs an integer from 0", raised_by(simples.limit, simples, wrong))
          says("needs an integer from 0", raised_by(simples.offset, simples, wrong))
        end
      end)
    end)
  end)
end
