--- A stand-in for `rille.core` and `rille.core.db`, for specs of the layers above them.
---
--- Requiring this file outside the runtime makes `rille.core` loadable; inside it, the real
--- one stays. `fake_core.new(backend)` is a driver for `rille.db.Database`: it records every
--- statement and answers with what `answer(sql, params)` returns: rows and affected, or nil
--- and an error. One task, as far as pins go.

if not pcall(require, "rille.core") then
  local function wrap(kind)
    return function(text)
      return { kind = kind, text = text }
    end
  end
  package.loaded["rille.core"] = { null = newproxy() }
  package.loaded["rille.core.db"] = {
    bytes = wrap("bytes"),
    json = wrap("json"),
    array = wrap("array"),
    pins = function() end,
  }
end
if not pcall(require, "rille.json") then
  package.loaded["rille.json"] = require("cjson")
end

local fake_core = {}

---@param backend "postgresql"|"sqlite"|nil
function fake_core.new(backend)
  local driver = { log = {}, params = {}, many = {}, pinned = 0, closed_old = 0, reads = 0 }
  local state
  local open = false

  function driver.open(opts)
    driver.opts = opts
    return "handle of " .. opts.name
  end

  function driver.backend()
    return backend or "postgresql"
  end

  function driver.url(handle)
    return "fake:" .. handle
  end

  function driver.exchange()
    driver.exchanged = (driver.exchanged or 0) + 1
  end

  --- To be replaced by specs.
  function driver.answer()
    return {}, 0
  end

  function driver.query(_, sql, n, ...)
    driver.log[#driver.log + 1] = sql
    driver.params[#driver.params + 1] = { n = n, ... }
    if sql:find("^BEGIN") then
      open = true
    elseif sql == "COMMIT" or sql == "ROLLBACK" then
      open = false
    end
    return driver.answer(sql, { n = n, ... })
  end

  --- Answers as `query` does; `reads` counts.
  function driver.read(...)
    driver.reads = driver.reads + 1
    return driver.query(...)
  end

  --- As `read`, of one key; `many` has what it might be sent as.
  function driver.read_by_key(handle, sql, many, column, key, anyhow)
    if state and not anyhow then
      return false
    end
    driver.many[#driver.many + 1] = { sql = many, column = column }
    local rows, affected, json_columns = driver.read(handle, sql, 1, key)
    if not rows then
      return nil, affected
    end
    return rows[2] and rows or rows[1], #rows, json_columns
  end

  function driver.pin(_, where)
    if driver.pin_error then
      return nil, driver.pin_error
    end
    driver.pinned, driver.where, state = driver.pinned + 1, where, {}
    driver.log[#driver.log + 1] = "<pin>"
    return true
  end

  function driver.unpin()
    driver.pinned, state = driver.pinned - 1, nil
    driver.log[#driver.log + 1] = "<unpin>"
    return open
  end

  --- "open" between BEGIN and its end, as far as statements tell.
  function driver.transaction()
    return open and "open" or nil
  end

  function driver.pin_state()
    return state
  end

  function driver.session_change() end

  function driver.mark_dirty()
    driver.dirty = true
  end

  function driver.close_old()
    driver.closed_old = driver.closed_old + 1
  end

  function driver.stats()
    return { open = 1 }
  end

  --- What was sent since the last look.
  function driver.take()
    local log = driver.log
    driver.log, driver.params = {}, {}
    return log
  end

  return driver
end

return fake_core
