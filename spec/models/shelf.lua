--- Authors, books, tags and reviews: the models that specs about queries share.

local models = require("rille.models")

--- Define them anew.
---@return table  Author, Publisher, Book, Tag, Review, Profile; `all` in an order to be made
return function()
  local shelf = {}
  shelf.Publisher = models.define("shelf_publisher", {
    name = models.text(),
    country = models.text({ null = true }),
  }, { name = "Publisher" })
  shelf.Author = models.define("shelf_author", {
    name = models.text({ unique = true }),
    age = models.integer({ null = true }),
    mentor = models.foreign_key("self", { null = true, on_delete = "set_null" }),
  }, { name = "Author" })
  shelf.Profile = models.define("shelf_profile", {
    author = models.one_to_one(shelf.Author, { on_delete = "cascade" }),
    motto = models.text(),
  }, { name = "Profile" })
  shelf.Tag = models.define("shelf_tag", {
    word = models.text({ unique = true }),
  }, { name = "Tag" })
  shelf.Book = models.define("shelf_book", {
    title = models.text(),
    pages = models.integer({ default = 100 }),
    price = models.numeric({ null = true, max_digits = 8, decimal_places = 2 }),
    printed = models.timestamp({ null = true }),
    day = models.date({ null = true }),
    data = models.json({ null = true }),
    author = models.foreign_key(shelf.Author, { on_delete = "cascade", related_name = "books" }),
    publisher = models.foreign_key(shelf.Publisher, { null = true, on_delete = "protect" }),
    tags = models.many_to_many(shelf.Tag, { related_name = "books" }),
  }, { name = "Book" })
  shelf.Review = models.define("shelf_review", {
    book = models.foreign_key(shelf.Book, { on_delete = "cascade", related_name = "reviews" }),
    stars = models.integer(),
    text = models.text({ default = "" }),
  }, { name = "Review" })
  shelf.all =
    { shelf.Publisher, shelf.Author, shelf.Profile, shelf.Tag, shelf.Book, shelf.Review }
  return shelf
end
