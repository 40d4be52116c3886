--- Signals: functions that hear when objects are saved and deleted.
---
---     models.signals.post_save:connect(function(sender, given)
---       if given.created then … end
---     end, { sender = Book })
---
--- Receivers are called in the task that saves, in order of their connection, and may wait; what
--- they raise, the save raises. What goes by whole queries (`aupdate`, `abulk_create`, …) tells
--- nobody; `adelete` of a query does, object by object.
---
--- | signal | `given`, besides `instance` and `using` |
--- | --- | --- |
--- | `pre_save`, `post_save` | `update_fields`; `created` |
--- | `pre_delete`, `post_delete` | |
--- | `m2m_changed` | `action` ("pre_add", "post_remove", …), `model`, `pk_set`, `reverse` |
---
--- A receiver belongs to a model and goes with it, so a reload connects it once; one for all models
--- takes the place of the one that was connected on the same line before.

local signals = {}

---@class rille.models.Signal
---@field name string
---@field everybody { uid: any, fn: function }[]
local Signal = {}
Signal.__index = Signal

local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  return info.source .. ":" .. info.linedefined
end

local function list_of(signal, sender, make)
  if not sender then
    return signal.everybody
  end
  local receivers = sender._meta.receivers
  if not receivers[signal.name] and make then
    receivers[signal.name] = {}
  end
  return receivers[signal.name]
end

local function check_sender(opts, what)
  local sender = opts and opts.sender
  if sender ~= nil and not (type(sender) == "table" and rawget(sender, "_meta")) then
    error(("the sender of %s is a model"):format(what), 3)
  end
  return sender
end

--- Have `fn(sender, given)` called. The same one, or with the same `uid`, once.
---@param fn async fun(sender: rille.models.Model, given: table)
---@param opts { sender: rille.models.Model?, uid: any }?
function Signal:connect(fn, opts)
  if type(fn) ~= "function" then
    error(("connect needs a function, not a %s"):format(type(fn)), 2)
  end
  local sender = check_sender(opts, "connect")
  local uid = opts and opts.uid or not sender and place_of(fn) or fn
  local list = list_of(self, sender, true)
  for _, receiver in ipairs(list) do
    if receiver.uid == uid then
      receiver.fn = fn
      return
    end
  end
  list[#list + 1] = { uid = uid, fn = fn }
end

--- Have it called no more.
---@param fn function
---@param opts { sender: rille.models.Model?, uid: any }?
---@return boolean  it was connected
function Signal:disconnect(fn, opts)
  local sender = check_sender(opts, "disconnect")
  local uid = opts and opts.uid or not sender and place_of(fn) or fn
  local list = list_of(self, sender) or {}
  for i, receiver in ipairs(list) do
    if receiver.uid == uid then
      table.remove(list, i)
      return true
    end
  end
  return false
end

--- Does anybody hear?
---@param sender rille.models.Model
---@return boolean
function Signal:has_receivers(sender)
  local own = sender._meta.receivers[self.name]
  return #self.everybody > 0 or own ~= nil and #own > 0
end

--- Tell all of them.
---@async
---@param sender rille.models.Model
---@param given table
function Signal:asend(sender, given)
  local heard = {}
  for _, list in ipairs({ sender._meta.receivers[self.name] or {}, self.everybody }) do
    for _, receiver in ipairs(list) do
      heard[#heard + 1] = receiver.fn -- a copy: they may connect and disconnect
    end
  end
  for _, fn in ipairs(heard) do
    fn(sender, given)
  end
end

for _, name in ipairs({
  "pre_save",
  "post_save",
  "pre_delete",
  "post_delete",
  "m2m_changed",
}) do
  signals[name] = setmetatable({ name = name, everybody = {} }, Signal)
end

return signals
