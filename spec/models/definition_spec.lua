--- What a model can say about itself beyond its columns: bases, managers, constraints, pairs.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
require("spec.support.fake_core")

local dialects = require("rille.db.dialect")
local errors = require("rille.errors")
local models = require("rille.models")
local schema = require("rille.models.schema")

local Q = models.Q

local message_of = raised.message

describe("a field", function()
  it("checks its digits and what its validators say before anything is sent", function()
    local price = models.numeric({ max_digits = 5, decimal_places = 2 })
    price.name = "price"
    for _, fits in ipairs({ "123.45", "-999.99", "0", "12.30000", "000123", 0.5 }) do
      price:write(fits)
    end
    for _, wrong in ipairs({ "1234", "1.234", 1000 }) do
      local message = message_of(price.write, price, wrong)
      assert.truthy(message:find("at most 5 digits, 2 of them", 1, true))
    end
    local even = models.integer({
      validators = {
        function(value)
          return value % 2 == 1 and "must be even" or nil
        end,
      },
    })
    even.name = "even"
    even:write(2)
    assert.equal("Field 'even': must be even", message_of(even.write, even, 3))
  end)

  it("takes choices as values or with labels", function()
    local Order = models.define("an_order", {
      state = models.text({ choices = { { "new", "Just in" }, { "sent", "On its way" } } }),
    })
    local field = Order._meta.by_name.state
    assert.equal("new", field:write("new"))
    assert.equal("Field 'state' cannot be 'lost'.", message_of(field.write, field, "lost"))
    assert.equal("On its way", field:label_of("sent"))
    assert.equal("Just in", Order({ state = "new" }):get_state_display())
    assert.is_nil(Order():get_state_display())
  end)

  it("refuses what makes no sense, at the caller", function()
    for _, mistake in ipairs({
      { "a numeric field has both", models.numeric, { max_digits = 5 } },
      { "max_digits must be at least", models.numeric, { max_digits = 1, decimal_places = 2 } },
      { "validators must be functions", models.text, { validators = { "x" } } },
      { "exclude each other", models.date, { auto_now = true, auto_now_add = true } },
      { "an array needs a field", models.array, "text" },
      { "an array needs a field", models.array, models.array(models.text()) },
      { "a many-to-many field needs a model", models.many_to_many, "tag" },
      { "has no option 'null'", models.many_to_many, "self", { null = true } },
      { "many_to_many needs a model,", models.many_to_many, "self", { through = "x" } },
    }) do
      local message = message_of(mistake[2], mistake[3], mistake[4])
      assert.truthy(message:find(mistake[1], 1, true), message)
    end
  end)
end)

describe("a model", function()
  it("has what its bases declare, each field as its own", function()
    local Named = models.abstract({ name = models.text({ max_length = 9 }) })
    local Dated = models.abstract(
      { created = models.timestamp({ auto_now_add = true }), name = models.text() },
      { ordering = { "-created" }, bases = { Named }, get_latest_by = "created" }
    )
    function Named:greeting()
      return "Hello " .. self.name
    end
    local A = models.define("base_a", { x = models.integer() }, { bases = { Dated } })
    local B = models.define("base_b", {}, { bases = { Dated }, ordering = { "name" } })
    function B:greeting()
      return "Bye " .. self.name
    end
    assert.is_nil(A._meta.by_name.name.max_length) -- the nearer one wins
    assert.not_equal(A._meta.by_name.created, B._meta.by_name.created)
    assert.same({ "-created" }, A._meta.ordering)
    assert.same({ "name" }, B._meta.ordering)
    assert.same({ "created" }, A._meta.get_latest_by)
    assert.equal("Hello x", A({ name = "x", x = 1 }):greeting())
    assert.equal("Bye x", B({ name = "x" }):greeting())
  end)

  it("has managers and methods of its own", function()
    local Post = models.define("post", { title = models.text(), live = models.boolean() }, {
      managers = {
        published = function(all)
          return all:filter({ live = true })
        end,
      },
      methods = {
        titled = function(self, word)
          return self:filter({ title__contains = word })
        end,
      },
    })
    local plain = 'WHERE "post"."title" LIKE $1'
    assert.truthy(tostring(Post.objects:titled("x")):find(plain, 1, true))
    local both = 'WHERE "post"."live" = $1 AND "post"."title" LIKE $2'
    assert.truthy(tostring(Post.published:titled("x")):find(both, 1, true))
    assert.truthy(tostring(Post.published:order_by("id"):titled("x")):find(both, 1, true))
    assert.truthy(tostring(Post.published:all():none():all():titled("x")) == "no rows")
  end)

  it("refuses what makes no sense, at the caller", function()
    local function define(options)
      return function()
        models.define("x", { a = models.integer() }, options)
      end
    end
    for _, mistake in ipairs({
      { "'bases' of define is a list of abstract models", { bases = { {} } } },
      { "names 'b', which is no field of X", { get_latest_by = "b" } },
      { "names 'b', which is no field of X", { indexes = { { "a", "b" } } } },
      { "names 'c', which is", { indexes = { models.Index({ fields = { "-c" } }) } } },
      { "'pk' cannot be the name of a manager", { managers = { pk = print } } },
      { "'a' cannot be the name of a manager", { managers = { a = print } } },
      { "is name = function pairs", { managers = { print } } },
      { "are the same; give one", { unique = {}, unique_together = {} } },
      { "is a list of models.UniqueConstraint", { constraints = { { "a" } } } },
    }) do
      local message = message_of(define(mistake[2]))
      assert.truthy(message:find(mistake[1], 1, true), message)
    end
  end)
end)

describe("relations", function()
  it("tell the other end, by the name given or as Django does", function()
    local User = models.define("user", { name = models.text() })
    local Profile = models.define("profile", { user = models.one_to_one(User) })
    local Note = models.define("note", {
      writer = models.foreign_key(User, { related_name = "notes" }),
      reader = models.foreign_key(User, { related_name = "+" }),
    })
    local Tag = models.define("tag", { users = models.many_to_many(User) })
    local reverse = User._meta.reverse
    assert.equal(Profile._meta.by_name.user, reverse.profile)
    assert.equal(Note._meta.by_name.writer, reverse.notes)
    assert.equal(Tag._meta.many.users, reverse.tag_set)
    assert.equal(Tag._meta.many.users, User._meta.reverse_keys.tag)
    assert.equal(4, #User._meta.pointing)
    models.define("note", { writer = models.foreign_key(User, { related_name = "notes" }) })
    assert.equal(4, #User._meta.pointing) -- in the place of the old one
  end)

  it("make a table between, or find the keys of the one given", function()
    local Group
    local Person = models.define("person", {
      friends = models.many_to_many("self"),
      groups = models.many_to_many(function()
        return Group
      end),
    })
    Group = models.define("people_group", { name = models.text() })
    local through, near, far = Person._meta.many.friends:between()
    assert.equal("person_friends", through._meta.table)
    assert.equal("from_person_id", near.column)
    assert.equal("to_person_id", far.column)
    through, near, far = Person._meta.many.groups:between()
    assert.same({ "person_id", "peoplegroup_id" }, { near.column, far.column })
    assert.same({ { "person", "peoplegroup" } }, through._meta.unique_together)
    assert.equal("cascade", near.on_delete)
    assert.equal(Person._meta.many.groups, Group._meta.reverse.person_set)

    local Membership
    local Club = models.define("club", {
      members = models.many_to_many(Person, {
        through = function()
          return Membership
        end,
        through_fields = { "club", "person" },
      }),
    })
    Membership = models.define("membership", {
      club = models.foreign_key(Club),
      person = models.foreign_key(Person),
      inviter = models.foreign_key(Person, { related_name = "+" }),
    })
    through, near, far = Club._meta.many.members:between()
    assert.equal(Membership, through)
    assert.same({ "club", "person" }, { near.name, far.name })
    Club._meta.many.members.near, Club._meta.many.members.through_fields = nil, nil
    local message = message_of(Club._meta.many.members.between, Club._meta.many.members)
    assert.truthy(message:find("more than one foreign key to Person", 1, true))
  end)

  it("are no column, and cannot be given to a new object", function()
    local Tag = models.define("tag", {})
    local Post = models.define("post", { tags = models.many_to_many(Tag) })
    assert.equal(1, #Post._meta.fields)
    assert.truthy(message_of(Post, { tags = {} }):find("is many-to-many", 1, true))
  end)
end)

describe("the schema", function()
  it("has types, constraints and indexes", function()
    local Seat = models.define("seat", {
      row = models.integer(),
      price = models.numeric({ max_digits = 6, decimal_places = 2 }),
      taken = models.boolean(),
      label = models.text({ db_column = "Label" }),
    }, {
      constraints = {
        models.UniqueConstraint({ fields = { "row", "label" } }),
        models.UniqueConstraint({
          fields = { "row" },
          condition = Q({ taken = true }),
          name = "one",
        }),
        models.CheckConstraint({
          condition = Q({ row__gte = 1, label__startswith = "it's" }) + -Q({ row__in = { 7, 8 } }),
          name = "in_the_house",
        }),
      },
      indexes = { models.Index({ fields = { "-row", "label" }, method = "btree" }) },
    })
    assert.same({
      [[
CREATE TABLE IF NOT EXISTS "seat" (
  "id" bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  "Label" text NOT NULL,
  "price" numeric(6, 2) NOT NULL,
  "row" integer NOT NULL,
  "taken" boolean NOT NULL,
  UNIQUE ("row", "Label"),
  CONSTRAINT "in_the_house" CHECK ((("Label" LIKE 'it''s%' AND "row" >= 1) ]]
        .. [[OR NOT ("row" IN (7, 8))))
)]],
      'CREATE INDEX IF NOT EXISTS "seat_row_Label_idx" ON "seat" USING btree'
        .. ' ("row" DESC, "Label")',
      'CREATE UNIQUE INDEX IF NOT EXISTS "one" ON "seat" ("row") WHERE "taken" = TRUE',
    }, schema.statements(Seat, dialects.postgresql))
  end)

  it("has arrays on PostgreSQL only", function()
    local A = models.define("a", { tags = models.array(models.text({ max_length = 5 })) })
    local create = schema.statements(A, dialects.postgresql)[1]
    assert.truthy(create:find('"tags" text[] NOT NULL', 1, true))
    local message = message_of(schema.statements, A, dialects.sqlite)
    assert.truthy(message:find("which need PostgreSQL", 1, true))
  end)
end)

local Seat = models.define("seat", { row = models.integer(), taken = models.boolean() }, {
  constraints = {
    models.UniqueConstraint({ fields = { "row" }, condition = Q({ taken = true }) }),
    models.CheckConstraint({ condition = Q({ row__gte = 1 }), name = "seat_row_positive" }),
  },
  get_latest_by = "row",
})
local Film = models.define("film", { seats = models.many_to_many(Seat) })

for _, backend in ipairs(backends.all({ Film, Seat })) do
  describe("constraints on " .. backend.name, function()
    local database = backend.database
    setup(backend.make)
    before_each(backend.empty)
    teardown(backend.drop)

    it("are kept by the database", function()
      local seats = Seat.objects:using(database)
      seats:acreate({ row = 1, taken = true })
      seats:acreate({ row = 1, taken = false })
      assert.equal(1, seats:alatest().row)
      for _, wrong in ipairs({ { row = 1, taken = true }, { row = 0, taken = false } }) do
        local ok, err = pcall(seats.acreate, seats, wrong)
        assert.is_false(ok)
        assert.is_true(errors.is_error(err, errors.IntegrityError))
      end
    end)

    it("come with the tables between", function()
      assert.same({}, schema.acheck(database, { Film, Seat }))
      local through = Film._meta.many.seats:between()
      assert.equal(0, through.objects:using(database):acount())
    end)
  end)
end

local Sample = models.define("array_sample", {
  words = models.array(models.text()),
  numbers = models.array(models.integer(), { null = true }),
  flags = models.array(models.boolean(), { null = true }),
  times = models.array(models.timestamp(), { null = true }),
  days = models.array(models.date(), { null = true }),
  keys = models.array(models.uuid(), { null = true }),
})

for _, backend in ipairs(backends.all({ Sample }, "PostgreSQL")) do
  describe("arrays on " .. backend.name, function()
    local database = backend.database
    setup(backend.make)
    before_each(backend.empty)
    teardown(backend.drop)

    it("come back as they were", function()
      local null = require("rille.core").null
      local samples = Sample.objects:using(database)
      local made = samples:acreate({
        words = { "a", 'b"\\,{}', null },
        numbers = {},
        flags = { true, false },
        days = { "2024-05-01" },
        times = { 0 },
        keys = { "00112233-4455-6677-8899-aabbccddeeff" },
      })
      local found = samples:aget({ pk = made.pk })
      for _, name in ipairs({ "words", "numbers", "flags", "days", "times", "keys" }) do
        assert.same(made[name], found[name])
      end
    end)

    it("are looked into", function()
      local samples = Sample.objects:using(database)
      local one = samples:acreate({ words = { "a", "b" }, numbers = { 1, 2, 3 } })
      local two = samples:acreate({ words = { "b", "c'\"" }, days = { "2024-05-01" } })
      local three = samples:acreate({ words = {} })
      local function found(given)
        return samples:filter(given):order_by("pk"):values_list("pk", { flat = true }):alist()
      end
      for _, case in ipairs({
        { { words__contains = { "b" } }, { one.pk, two.pk } },
        { { words__contains = { "b", "a" } }, { one.pk } },
        { { words__contained_by = { "a", "b", "z" } }, { one.pk, three.pk } },
        { { words__overlap = { "a", "c'\"" } }, { one.pk, two.pk } },
        { { words = { "a", "b" } }, { one.pk } },
        { { words__len = 0 }, { three.pk } },
        { { words__len__gte = 2 }, { one.pk, two.pk } },
        { { words__0 = "b" }, { two.pk } },
        { { words__1__startswith = "c" }, { two.pk } },
        { { numbers__contains = { 3, 1 } }, { one.pk } },
        { { numbers__2__gt = 2 }, { one.pk } },
        { { numbers__isnull = true }, { two.pk, three.pk } },
        { { days__contains = { "2024-05-01" } }, { two.pk } },
      }) do
        assert.same(case[2], found(case[1]), next(case[1]))
      end
      local ok, err = pcall(samples.filter, samples, { words__contains = { 7 } })
      assert.is_false(ok)
      assert.is_true(errors.is_error(err, errors.ValueError))
      one.numbers = { 9 }
      samples:abulk_update({ one }, { "numbers", "words" })
      assert.same({ 9 }, one:arefresh_from_db().numbers)
      samples:abulk_create({ { words = { "x" } }, { words = {} } })
      assert.equal(5, samples:acount())
    end)
  end)
end
