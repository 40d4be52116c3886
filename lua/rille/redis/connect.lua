--- From settings to a connection that is logged in: the steps, one behind the other.
---
--- With Sentinels (https://redis.io/docs/reference/sentinel-clients/) they are asked one by one
--- where the master is; the first that knows is asked first the next time. Whoever is said to be
--- the master is asked for its ROLE, since a Sentinel may not have heard of a failover yet.

local core = require("rille.core").redis
local errors = require("rille.errors")

local M = {}

--- "host:port", or the path of a socket.
---@param address rille.redis.Address
---@return string
function M.place(address)
  local host = address.host or ""
  return address.path or ((host:find(":") and "[%s]:%d" or "%s:%d"):format(host, address.port))
end

local function unavailable(message, ...)
  return errors.RedisUnavailable(message:format(...), { may_have_run = false })
end

--- What an error of the core says, without what is said in front of it anyway.
local function reason(err)
  return (err.message:gsub("^Redis: ", ""):gsub(" %(the command [^()]*%)$", ""))
end

--- What went wrong there. Not what is no failure of the connection: we were cancelled.
local function failed_at(address, err)
  if not errors.is_error(err, errors.RedisError) then
    return err
  end
  return unavailable("Redis: %s: %s", M.place(address), reason(err))
end

local function dial(settings, address, queue)
  local tls = settings.tls
  return core.dial {
    host = address.host,
    port = address.port,
    path = address.path,
    timeout = settings.connect_timeout,
    queue = queue,
    tls = tls and {
      ca = tls.ca,
      cert = tls.cert,
      key = tls.key,
      verify = tls.verify,
      name = tls.name or address.host,
    },
  }
end

--- Run a step on a wire, which is closed if the step raises (we were cancelled).
local function on_wire(wire, step, ...)
  local done, ok, result = pcall(step, wire, ...)
  if not done then
    core.close(wire)
    error(ok, 0)
  end
  return ok, result
end

--- What AUTH is given; nothing without a password.
local function credentials(username, password)
  if password then
    return username and { "AUTH", username, password } or { "AUTH", password }
  end
end

--- Refusals that a link can live with: a user who may not name itself.
local function is_harmless(command, refusal)
  return command == "CLIENT" and (refusal.code == "NOPERM" or refusal.code == "ERR")
end

--- Ask for all of it at once. nil and why, if something is refused.
local function log_in(wire, settings, name)
  local commands = { credentials(settings.username, settings.password) }
  commands[#commands + 1] = { "CLIENT", "SETNAME", (name:gsub("[^!-~]", "_")) }
  if settings.db ~= 0 then
    commands[#commands + 1] = { "SELECT", settings.db }
  end
  if settings.service then
    commands[#commands + 1] = { "ROLE" }
  end
  local replies, err = core.pipeline(wire, settings.connect_timeout, commands)
  if not replies then
    return nil, err
  end
  for i, reply in ipairs(replies) do
    local command = commands[i][1]
    if errors.is_error(reply, errors.RedisError) and not is_harmless(command, reply) then
      return nil, unavailable("%s was refused: %s", command, reply.message)
    elseif command == "ROLE" and reply[1] ~= "master" then
      return nil, unavailable("it is a %s, not the master", tostring(reply[1]))
    end
  end
  return true
end

--- The master's address, by what this Sentinel knows.
local function ask_sentinel(settings, address)
  local wire, err = dial(settings, address, 1)
  if not wire then
    return nil, err
  end
  local commands = { credentials(settings.sentinel_username, settings.sentinel_password) }
  commands[#commands + 1] = { "SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.service }
  local replies, why = on_wire(wire, core.pipeline, settings.connect_timeout, commands)
  core.close(wire)
  if not replies then
    return nil, why
  end
  local master = replies[#replies]
  for _, reply in ipairs(replies) do
    if errors.is_error(reply, errors.RedisError) then
      return nil, unavailable("it refused: %s", reply.message)
    end
  end
  local port = type(master) == "table" and tonumber(master[2])
  if not port then
    return nil, unavailable("it knows no service '%s'", settings.service)
  end
  return { host = master[1], port = port }
end

local function find_master(settings)
  local failures, addresses = {}, settings.addresses
  for i, address in ipairs(addresses) do
    local master, err = ask_sentinel(settings, address)
    if master then
      table.insert(addresses, 1, table.remove(addresses, i))
      return master
    end
    failures[i] = ("%s (%s)"):format(M.place(address), reason(err))
  end
  local told = "Redis: no Sentinel tells where the master of '%s' is: %s"
  return nil, unavailable(told, settings.service, table.concat(failures, ", "))
end

--- Connect and log in.
---@async
---@param settings rille.redis.Settings
---@param name string    for CLIENT SETNAME
---@param queue integer  messages of subscriptions that nobody has taken, at most
---@return rille.core.redis.Wire?
---@return string|rille.RedisUnavailable where  or why not
function M.aconnect(settings, name, queue)
  local address = settings.addresses[1]
  if settings.service then
    local master, err = find_master(settings)
    if not master then
      return nil, err
    end
    address = master
  end
  local wire, why = dial(settings, address, queue)
  if not wire then
    return nil, failed_at(address, why)
  end
  local ok, refusal = on_wire(wire, log_in, settings, name)
  if ok then
    return wire, M.place(address)
  end
  core.close(wire)
  return nil, failed_at(address, refusal)
end

return M
