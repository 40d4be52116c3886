--- Saving, deleting and related managers: Django's async cases, on real databases.

local backends = require("spec.support.backends")
local raised = require("spec.support.raised")
require("spec.support.fake_core")

local errors = require("rille.errors")
local models = require("rille.models")

local F, signals = models.F, models.signals
local shelf = require("spec.models.shelf")()
local Author, Book, Review, Tag = shelf.Author, shelf.Book, shelf.Review, shelf.Tag
local Publisher, Profile = shelf.Publisher, shelf.Profile

local Person = models.define("written_person", {
  name = models.text(),
  friends = models.many_to_many("self"),
  idols = models.many_to_many("self", { symmetrical = false, related_name = "fans" }),
}, { name = "Person" })
local Membership
local Club = models.define("written_club", {
  name = models.text(),
  members = models.many_to_many(Person, {
    related_name = "clubs",
    through = function()
      return Membership
    end,
    through_fields = { "club", "person" },
  }),
}, { name = "Club" })
Membership = models.define("written_membership", {
  club = models.foreign_key(Club, { on_delete = "cascade" }),
  person = models.foreign_key(Person, { on_delete = "cascade" }),
  inviter = models.foreign_key(Person, { null = true, on_delete = "set_null", related_name = "+" }),
  since = models.integer({ default = 2000 }),
}, { name = "Membership" })

-- An album may not go while it has songs; that its artist goes lifts that.
local Artist = models.define("written_artist", { name = models.text() }, { name = "Artist" })
local Album = models.define("written_album", {
  artist = models.foreign_key(Artist, { on_delete = "cascade" }),
}, { name = "Album" })
local Song = models.define("written_song", {
  artist = models.foreign_key(Artist, { on_delete = "cascade" }),
  album = models.foreign_key(Album, { on_delete = "restrict" }),
}, { name = "Song" })

local all = { Person, Club, Membership, Artist, Album, Song, unpack(shelf.all) }

local raised_by, is = raised.by, raised.is

for _, backend in ipairs(backends.all(all)) do
  describe("writing on " .. backend.name, function()
    local database = backend.database
    local function of(model)
      return model.objects:using(database)
    end
    local authors, books, tags, reviews = of(Author), of(Book), of(Tag), of(Review)
    setup(backend.make)
    before_each(backend.empty)
    teardown(backend.drop)

    local function words(query, name)
      return query:order_by(name):values_list(name, { flat = true }):alist()
    end

    describe("asave", function()
      it("inserts, updates, and does one of them when told", function()
        local ann = Author({ name = "Ann" })
        assert.equal(ann, ann:asave({ using = database }))
        ann.age = 40
        ann:asave({ force_update = true })
        assert.equal(40, authors:aget({ pk = ann.pk }).age)
        is(errors.IntegrityError, raised_by(ann.asave, ann, { force_insert = true }))
        local both = { force_insert = true, force_update = true }
        is(errors.ValueError, raised_by(ann.asave, ann, both))
        local gone = Author({ id = ann.pk + 1000, name = "Gone" })
        local told = { force_update = true, using = database }
        local message = is(errors.DatabaseError, raised_by(gone.asave, gone, told))
        assert.equal("Forced update did not affect any rows.", message)
        told.force_update, told.update_fields = nil, { "name" }
        message = is(errors.DatabaseError, raised_by(gone.asave, gone, told))
        assert.equal("Save with update_fields did not affect any rows.", message)
        local keyless = Author({ name = "x" })
        told = { force_update = true, using = database }
        is(errors.ValueError, raised_by(keyless.asave, keyless, told))
        is(errors.ValueError, raised_by(ann.asave, ann, { update_fields = { "id" } }))
        is(errors.ValueError, raised_by(ann.asave, ann, { update_fields = { "shoes" } }))
      end)

      it("takes expressions, and has the result fetched", function()
        local ann = authors:acreate({ name = "Ann", age = 40 })
        ann.age = F("age") + 2
        ann:asave()
        is(errors.NotFetched, raised_by(function()
          return ann.age
        end))
        assert.equal(42, ann:arefresh_from_db({ fields = { "age" } }).age)
      end)

      it("does not insert half a row", function()
        local ann = authors:acreate({ name = "Ann", age = 40 })
        local half = authors:only("name"):aget({ pk = ann.pk })
        ann:adelete()
        is(errors.DatabaseError, raised_by(half.asave, half))
      end)

      it("refreshes what it came with, from a query that has it", function()
        local ann = authors:acreate({ name = "Ann", age = 40 })
        authors:aupdate({ age = 41 })
        assert.equal(41, ann:arefresh_from_db().age)
        local none = { from_queryset = authors:filter({ age = 7 }) }
        is(Author.DoesNotExist, raised_by(ann.arefresh_from_db, ann, none))
      end)
    end)

    describe("signals", function()
      local heard, function_of
      before_each(function()
        heard = {}
        function_of = {}
        for _, name in ipairs({ "pre_save", "post_save", "pre_delete", "post_delete" }) do
          function_of[name] = function(sender, given)
            assert.equal(Author, sender)
            heard[#heard + 1] = name .. (given.created and " created" or "")
          end
          signals[name]:connect(function_of[name], { sender = Author })
          signals[name]:connect(function_of[name], { sender = Author })
        end
      end)
      after_each(function()
        for name, fn in pairs(function_of) do
          assert.is_true(signals[name]:disconnect(fn, { sender = Author }))
          assert.is_false(signals[name]:disconnect(fn, { sender = Author }))
        end
      end)

      it("tell once of each save and each object deleted", function()
        local ann = authors:acreate({ name = "Ann" })
        ann:asave()
        ann:asave({ update_fields = {} })
        authors:aupdate({ age = 1 })
        authors:acreate({ name = "Bob" })
        assert.same({
          "pre_save",
          "post_save created",
          "pre_save",
          "post_save",
          "pre_save",
          "post_save created",
        }, heard)
        heard = {}
        assert.equal(2, (authors:all():adelete()))
        table.sort(heard)
        assert.same({ "post_delete", "post_delete", "pre_delete", "pre_delete" }, heard)
      end)

      it("tell those who hear of all models, as long as their script serves", function()
        local loader = require("rille.loader")
        local told = {}
        local function app(name)
          return loader.run(function()
            signals.post_save:connect(function(sender)
              told[#told + 1] = name .. sender.__name
            end)
            return require("rille").app({ routes = {} })
          end, 1)
        end
        local generations = require("rille.generations")
        local before = generations.serving
        generations.serving = app("old ")
        local new = app("new ") -- which does not serve yet
        tags:acreate({ word = "a" })
        generations.serving = new
        tags:acreate({ word = "b" })
        generations.serving = app("newest ")
        tags:acreate({ word = "c" })
        assert.same({ "old Tag", "new Tag", "newest Tag" }, told)
        assert.equal(2, #signals.post_save.everybody) -- the old one is forgotten
        generations.serving = before
        signals.post_save.everybody = {}
      end)

      it("may refuse, and wait", function()
        local function refuse()
          authors:acount()
          error("not now", 0)
        end
        signals.pre_save:connect(refuse, { sender = Author })
        assert.equal("not now", raised_by(authors.acreate, authors, { name = "x" }))
        signals.pre_save:disconnect(refuse, { sender = Author })
        assert.equal(0, authors:acount())
      end)
    end)

    describe("adelete", function()
      it("takes along what cascades, and counts", function()
        local ann = authors:acreate({ name = "Ann" })
        local bob = authors:acreate({ name = "Bob", mentor = ann })
        of(Profile):acreate({ author = ann, motto = "x" })
        local red = books:acreate({ title = "Red", author = ann })
        books:acreate({ title = "Blue", author = ann })
        reviews:acreate({ book = red, stars = 1 })
        red.tags:acreate({ word = "warm" })
        local total, counts = ann:adelete()
        assert.equal(6, total)
        assert.same({ Author = 1, Book = 2, Profile = 1, Review = 1, Book_tags = 1 }, counts)
        assert.is_nil(ann.pk)
        assert.is_nil(bob:arefresh_from_db().mentor_id)
        assert.equal(1, tags:acount())
      end)

      it("is refused by what is protected, before anything is changed", function()
        local house = of(Publisher):acreate({ name = "House" })
        local ann = authors:acreate({ name = "Ann" })
        local red = books:acreate({ title = "Red", author = ann, publisher = house })
        local err = raised_by(house.adelete, house)
        assert.equal(
          "Cannot delete some instances of model 'Publisher' because they are referenced through"
            .. " protected foreign keys: 'Book.publisher'.",
          is(errors.ProtectedError, err)
        )
        assert.is_true(errors.is_error(err, errors.IntegrityError))
        assert.equal(red, err.objects[1])
        assert.equal(house.pk, of(Publisher):aget().pk)
        red:adelete()
        assert.equal(1, (of(Publisher):all():adelete()))
      end)

      it("is restricted, unless what restricts goes too", function()
        local artist = of(Artist):acreate({ name = "A" })
        local album = of(Album):acreate({ artist = artist })
        of(Song):acreate({ artist = artist, album = album })
        is(errors.RestrictedError, raised_by(album.adelete, album))
        local other = of(Artist):acreate({ name = "B" })
        local stays = of(Song):acreate({ artist = other, album = album })
        is(errors.RestrictedError, raised_by(artist.adelete, artist))
        stays:adelete()
        local total, counts = artist:adelete()
        assert.equal(3, total)
        assert.same({ Artist = 1, Album = 1, Song = 1 }, counts)
      end)

      it("of a query takes its rows and no others", function()
        local ann = authors:acreate({ name = "Ann" })
        for i = 1, 5 do
          local book = books:acreate({ title = "b" .. i, author = ann, pages = i })
          reviews:acreate({ book = book, stars = i })
        end
        local total, counts = books:filter({ reviews__stars__lte = 2 }):adelete()
        assert.same({ Book = 2, Review = 2 }, counts)
        assert.equal(4, total)
        assert.equal(3, reviews:acount())
        assert.equal(3, (books:all():order_by("title"):adelete()) / 2)
      end)
    end)

    describe("related managers", function()
      local ann, bob, red, blue
      before_each(function()
        ann, bob = authors:acreate({ name = "Ann" }), authors:acreate({ name = "Bob" })
        red = books:acreate({ title = "Red", author = ann })
        blue = books:acreate({ title = "Blue", author = bob })
      end)

      it("of a foreign key make, find and add", function()
        ann.books:acreate({ title = "New" })
        assert.same({ "New", "Red" }, words(ann.books, "title"))
        local _, created = ann.books:aget_or_create({ title = "New" })
        assert.is_false(created)
        local other
        other, created = ann.books:aget_or_create({ title = "Other" })
        assert.is_true(created)
        assert.equal(ann.pk, other.author_id)
        other, created = ann.books:aupdate_or_create({ title = "Other" }, { pages = 7 })
        assert.is_false(created)
        assert.equal(7, other.pages)
        assert.equal(1, ann.books:aadd(blue))
        assert.equal(ann.pk, blue.author_id)
        assert.equal(0, bob.books:acount())
        bob.books:aadd(blue, red, { bulk = false })
        assert.same({ "Blue", "Red" }, words(bob.books, "title"))
        assert.truthy(raised_by(ann.books.aadd, ann.books, Book({ title = "x" })))
        assert.truthy(raised_by(ann.books.aadd, ann.books, bob))
        is(errors.ValueError, raised_by(function()
          return Author({ name = "x" }).books
        end))
      end)

      it("of one that may not be NULL remove nothing", function()
        for _, name in ipairs({ "aremove", "aclear" }) do
          local message = raised_by(ann.books[name], ann.books, red)
          assert.truthy(message:find("needs a foreign key that may be NULL", 1, true))
        end
        ann.books:aset({ blue })
        assert.same({ "Blue", "Red" }, words(ann.books, "title"))
      end)

      it("of one that may be NULL remove, clear and set", function()
        local house = of(Publisher):acreate({ name = "House" })
        local its = house.book_set
        its:aadd(red, blue)
        assert.equal(2, its:acount())
        assert.equal(1, its:aremove(red))
        assert.is_nil(red.publisher_id)
        is(Book.DoesNotExist, raised_by(its.aremove, its, red))
        its:aset({ red })
        assert.same({ "Red" }, words(its, "title"))
        its:aset({ red, blue }, { clear = true })
        assert.equal(2, its:acount())
        assert.equal(2, its:aclear())
        assert.equal(0, its:acount())
      end)

      it("of pairs add, remove, clear and set, from both sides", function()
        local warm, cold = tags:acreate({ word = "warm" }), tags:acreate({ word = "cold" })
        assert.equal(1, red.tags:aadd(warm))
        assert.equal(1, red.tags:aadd(warm, cold.pk))
        assert.same({ "cold", "warm" }, words(red.tags, "word"))
        assert.same({ "Red" }, words(warm.books, "title"))
        warm.books:aadd(blue)
        assert.same({ "warm" }, words(blue.tags, "word"))
        assert.equal(1, red.tags:aremove(warm))
        assert.same({ "cold" }, words(red.tags, "word"))
        red.tags:aset({ warm })
        assert.same({ "warm" }, words(red.tags, "word"))
        red.tags:aset({ cold.pk, warm.pk }, { clear = true })
        assert.same({ "cold", "warm" }, words(red.tags:filter({ word__gt = "a" }), "word"))
        assert.equal(2, red.tags:aclear())
        assert.equal(0, red.tags:acount())
        assert.same({ "Blue" }, words(warm.books, "title"))
        local new = red.tags:acreate({ word = "new" })
        assert.same({ "new" }, words(red.tags, "word"))
        local _, created = red.tags:aget_or_create({ word = "new" })
        assert.is_false(created)
        _, created = red.tags:aget_or_create({ word = "newer" })
        assert.is_true(created)
        _, created = red.tags:aupdate_or_create({ word = "newest" }, {})
        assert.is_true(created)
        assert.equal(3, red.tags:acount())
        assert.equal(new, red.tags:aget({ word = "new" }))
        assert.truthy(raised_by(function()
          red.tags = {}
        end):find("use object.tags:aset(list)", 1, true))
      end)

      it("of pairs with rows of their own fill them", function()
        local people, clubs = of(Person), of(Club)
        local eve, dan = people:acreate({ name = "Eve" }), people:acreate({ name = "Dan" })
        local club = clubs:acreate({ name = "Chess" })
        club.members:aadd(eve, { through_defaults = { inviter = dan, since = 1999 } })
        local row = of(Membership):aget()
        assert.same({ eve.pk, dan.pk, 1999 }, { row.person_id, row.inviter_id, row.since })
        assert.same({ "Chess" }, words(eve.clubs, "name"))
        club.members:acreate({ name = "Fay" }, { through_defaults = { since = 1 } })
        assert.same({ "Eve", "Fay" }, words(club.members, "name"))
        club.members:aset({ dan }, { through_defaults = { since = 3 } })
        assert.equal(3, of(Membership):aget().since)
        local told = { through_defaults = { since = 7 } }
        local _, created = club.members:aget_or_create({ name = "Gil" }, nil, told)
        assert.is_true(created)
        assert.equal(7, of(Membership):aget({ person__name = "Gil" }).since)
        told.through_defaults.since = function()
          return 8
        end
        _, created = club.members:aget_or_create({ name = "Gil" }, nil, told)
        assert.is_false(created)
        assert.equal(7, of(Membership):aget({ person__name = "Gil" }).since)
        club.members:aupdate_or_create({ name = "Hal" }, {}, nil, told)
        assert.equal(8, of(Membership):aget({ person__name = "Hal" }).since)
        local why = raised_by(people.acreate, people, { name = "Ida" }, told)
        assert.truthy(why:find("many-to-many", 1, true))
        assert.same({ "Chess" }, words(clubs:filter({ members__name = "Dan" }), "name"))
        assert.same({ "Chess" }, words(clubs:filter({ membership__since = 3 }), "name"))
      end)

      it("of friends go both ways, and of idols one way", function()
        local people = of(Person)
        local eve, dan = people:acreate({ name = "Eve" }), people:acreate({ name = "Dan" })
        eve.friends:aadd(dan)
        assert.same({ "Eve" }, words(dan.friends, "name"))
        dan.friends:aremove(eve)
        assert.equal(0, eve.friends:acount())
        eve.idols:aadd(dan)
        assert.same({ "Eve" }, words(dan.fans, "name"))
        assert.equal(0, dan.idols:acount())
        assert.same({ "Eve" }, words(people:filter({ idols = dan }), "name"))
        assert.same({ "Dan" }, words(people:filter({ fans__name = "Eve" }), "name"))
      end)

      it("tell of pairs that come and go", function()
        local through = Book._meta.many.tags:between()
        local heard = {}
        local function hear(_, given)
          heard[#heard + 1] = given.action .. " " .. #(given.pk_set or {})
        end
        signals.m2m_changed:connect(hear, { sender = through })
        local warm = tags:acreate({ word = "warm" })
        red.tags:aadd(warm)
        red.tags:aadd(warm)
        red.tags:aremove(warm)
        red.tags:aclear()
        signals.m2m_changed:disconnect(hear, { sender = through })
        assert.same({
          "pre_add 1",
          "post_add 1",
          "pre_add 0",
          "post_add 0",
          "pre_remove 1",
          "post_remove 1",
          "pre_clear 0",
          "post_clear 0",
        }, heard)
      end)
    end)
  end)
end
