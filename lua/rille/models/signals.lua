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
--- A receiver of one model goes with it, and one that a script connects for all models while it is
--- loaded, with that load: after a reload, only those of the new one hear.

local loader = require("rille.loader")

local signals = {}

---@class rille.models.Signal
---@field name string
---@field everybody { uid: any, fn: function, generation: rille.Generation? }[]
local Signal = {}
Signal.__index = Signal

--- Does a receiver belong to the script that serves, or to none? Without an application, as in a
--- test of models alone, nothing is ever replaced.
local function is_served(receiver)
  local generations = package.loaded["rille.generations"]
  local serving = generations and generations.serving
  return not receiver.generation or not serving or receiver.generation == serving
end

--- Forget receivers of scripts that neither serve nor may serve again.
local function prune(list)
  local generations = package.loaded["rille.generations"]
  if not generations then
    return
  end
  for i = #list, 1, -1 do
    local generation = list[i].generation
    local known = generation == generations.serving
      or generation == generations.previous
      or generation == loader.current()
    if generation and not known then
      table.remove(list, i)
    end
  end
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
  local uid = opts and opts.uid or fn
  local generation = not sender and loader.current() or nil
  local list = list_of(self, sender, true)
  prune(list)
  for _, receiver in ipairs(list) do
    if receiver.uid == uid and receiver.generation == generation then
      receiver.fn = fn
      return
    end
  end
  list[#list + 1] = { uid = uid, fn = fn, generation = generation }
end

--- Have it called no more.
---@param fn function
---@param opts { sender: rille.models.Model?, uid: any }?
---@return boolean  it was connected
function Signal:disconnect(fn, opts)
  local sender = check_sender(opts, "disconnect")
  local uid = opts and opts.uid or fn
  local list = list_of(self, sender) or {}
  for i, receiver in ipairs(list) do
    if receiver.uid == uid and is_served(receiver) then
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
      if is_served(receiver) then
        heard[#heard + 1] = receiver.fn -- a copy: they may connect and disconnect
      end
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
