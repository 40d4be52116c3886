-- A consumer that keeps what it is told, in a transaction: spec/bench/kit tests it.
local rille = require "rille"
local models = require "rille.models"

local Note = models.define("note", { id = models.auto(), text = models.text() })
local Notes = rille.WebsocketConsumer:extend "Notes"

function Notes:receive(text_data)
  local count = rille.atomic(function()
    Note.objects:acreate { text = text_data }
    return Note.objects:acount()
  end)
  self:asend { text_data = ("%d notes"):format(count) }
end

return rille.app { models = { Note }, routes = { rille.websocket("/", Notes) } }
