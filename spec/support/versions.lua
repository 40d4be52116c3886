--- An application's models through its life, for specs of migrations: each version as a function
--- that defines it, with the names of what was renamed since the one before.

local models = require("rille.models")

local Q = models.Q

local function first()
  local Room = models.define("room", {
    slug = models.text({ max_length = 20, unique = true }),
    size = models.integer({ default = 0 }),
  })
  local Message = models.define("message", {
    room = models.foreign_key(Room, { on_delete = "cascade" }),
    body = models.text({ index = true }),
    at = models.timestamp(),
    author = models.text({ null = true }),
  }, { unique = { { "room", "at" } }, indexes = { { "at", "room" } } })
  return { Room, Message }
end

-- More of everything, and two tables that refer to each other.
local function second()
  local Room = models.define("room", {
    slug = models.text({ max_length = 40, unique = true }),
    size = models.integer({ default = 0 }),
    topic = models.text({ default = "it's 100%" }),
    parent = models.foreign_key("self", { null = true, on_delete = "set_null" }),
  }, {
    constraints = { models.CheckConstraint { condition = Q { size__gte = 0 }, name = "sized" } },
  })
  local Tag = models.define("tag", { name = models.text({ primary_key = true }) })
  local Message = models.define("message", {
    room = models.foreign_key(Room, { on_delete = "cascade" }),
    body = models.text(),
    at = models.timestamp(),
    author = models.text({ null = true, index = true }),
    tags = models.many_to_many(Tag),
  }, { indexes = { { "at", "room" }, models.Index { fields = { "-at" }, name = "latest" } } })
  local Egg
  local Hen = models.define("hen", {
    egg = models.foreign_key(function()
      return Egg
    end, { null = true }),
  })
  Egg = models.define("egg", { hen = models.foreign_key(Hen), paid = models.boolean() })
  return { Room, Tag, Message, Hen, Egg }
end

-- Names, types and what may be missing change.
local function third()
  local Room = models.define("channel", {
    slug = models.text({ max_length = 40, unique = true }),
    size = models.bigint({ null = true, unique = true }),
    topic = models.text({ default = "" }),
    parent = models.foreign_key("self", { null = true, on_delete = "cascade" }),
  })
  local Message = models.define("message", {
    room = models.foreign_key(Room, { on_delete = "cascade" }),
    text = models.text(),
    at = models.timestamp({ null = true }),
    author = models.text({ default = "nobody", index = true }),
  }, {
    indexes = { models.Index { fields = { "-at" }, name = "latest" } },
    constraints = {
      models.UniqueConstraint { fields = { "room", "text" }, condition = Q { text__gt = "" } },
    },
  })
  return { Room, Message }
end

-- What was text is a number; columns go.
local function fourth()
  local Room = models.define("channel", {
    slug = models.integer({ unique = true }),
    size = models.bigint({ null = true }),
  })
  return {
    Room,
    models.define("message", {
      room = models.foreign_key(Room, { on_delete = "cascade", db_column = "channel" }),
      text = models.text(),
      at = models.timestamp({ null = true }),
    }),
  }
end

return {
  { models = first, renamed = {} },
  { models = second, renamed = {} },
  { models = third, renamed = { room = "channel", ["message.body"] = "message.text" } },
  { models = fourth, renamed = { ["message.room_id"] = "message.channel" } },
}
