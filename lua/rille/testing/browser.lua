--- Chromium, by chromedriver: WebDriver (W3C), as far as a test of a page needs it.

local Stream = require("rille.testing.stream")
local class = require("rille.class")
local core = require("rille.core")
local errors = require("rille.errors")
local http = require("rille.testing.response")
local json = require("rille.json")
local opened = require("rille.testing.opened")
local task = require("rille.task")

local PATIENCE = 30 -- seconds, for a command

--- Where an element's number stands in an answer, by the standard.
local ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

---@class rille.testing.Browser : rille.Class, rille.testing.Opened
---@field private session string
local Browser = class("rille.testing.Browser")

---@class rille.testing.Element : rille.Class  of a page
---@field private browser rille.testing.Browser
---@field private path string
local Element = class("rille.testing.Element")

--- The driver, once for all browsers of a run.
---@type { port: integer, pid: string, pipe: file* }?
local driver

local function which(...)
  for _, name in ipairs { ... } do
    local pipe = assert(io.popen("command -v " .. name))
    local path = pipe:read("*l")
    pipe:close()
    if path then
      return path
    end
  end
end

--- It ends with us, however we end.
local function start_driver(program)
  local command = "echo $$; exec setpriv --pdeathsig TERM %s --port=0 2>&1"
  local pipe = assert(io.popen(command:format(program)))
  local pid = pipe:read("*l")
  for line in pipe:lines() do
    local port = line:match("started successfully on port (%d+)")
    if port then
      return { port = tonumber(port), pid = pid, pipe = pipe }
    end
  end
  error("chromedriver did not start", 0)
end

--- The run is over.
function Browser.end_driver()
  if driver then
    os.execute("kill " .. driver.pid)
    driver.pipe:close()
    driver = nil
  end
end

--- A command of WebDriver. Raises what the browser says is wrong.
---@async
local function acommand(method, path, parameters)
  local body = method == "POST" and json.encode(parameters or {}) or nil
  local text, status = task.atimeout(PATIENCE, function()
    local stream = Stream.adial("127.0.0.1", driver.port)
    local headers = {
      host = "127.0.0.1:" .. driver.port,
      connection = "close",
      ["content-type"] = "application/json",
    }
    stream:write(http.request(method, path, headers, body))
    local response, pieces = http.ahead(stream), {}
    for piece in http.pieces(stream, response, method) do
      pieces[#pieces + 1] = piece
    end
    stream:close()
    return table.concat(pieces), response.status
  end)
  local value = json.decode(text).value
  if status ~= 200 then
    error(errors.Error(("the browser: %s: %s"):format(value.error, value.message)), 0)
  end
  return value ~= core.null and value or nil
end

local function flags()
  local args = json.array {}
  for word in
    ("--headless=new --disable-gpu --no-first-run --disable-sync --disable-background-networking"
      .. " --disable-component-update --disable-dev-shm-usage"):gmatch("%S+")
  do
    args[#args + 1] = word
  end
  local pipe = assert(io.popen("id -u"))
  if pipe:read("*l") == "0" then
    args[#args + 1] = "--no-sandbox" -- which does not work for root
  end
  pipe:close()
  return args
end

--- Start a browser, without a window. Where Chromium or its driver is not installed, the test is
--- pending, and says so.
---@async
---@return rille.testing.Browser
function Browser.astart()
  local program = which("chromedriver")
  local chromium = which("chromium", "chromium-browser", "google-chrome")
  if not (program and chromium) then
    opened.skip(
      "a browser needs Chromium and chromedriver (Debian's packages: chromium, chromium-driver)"
    )
  end
  driver = driver or start_driver(program)
  local self = Browser()
  local options = { binary = chromium, args = flags() }
  local answer = acommand("POST", "/session", {
    capabilities = { alwaysMatch = { ["goog:chromeOptions"] = options } },
  })
  self.session = "/session/" .. answer.sessionId
  return opened.note(self)
end

---@async
function Browser:_acommand(method, path, parameters)
  if not self.session then
    error("the browser has ended", 0)
  end
  return acommand(method, self.session .. path, parameters)
end

--- Go to a page, and wait until it is loaded.
---@async
---@param url string
function Browser:aget(url)
  self:_acommand("POST", "/url", { url = url })
end

--- Run a script in the page.
---@async
---@param script string  the body of a function, of `arguments`
---@param ... any
---@return any  what it returns
function Browser:aexecute(script, ...)
  return self:_acommand("POST", "/execute/sync", { script = script, args = json.array { ... } })
end

--- The first element that a CSS selector finds. Raises when there is none.
---@async
---@param css string
---@return rille.testing.Element
function Browser:afind(css)
  local found = self:_acommand("POST", "/element", { using = "css selector", value = css })
  local element = Element()
  element.browser, element.path = self, "/element/" .. found[ELEMENT]
  return element
end

--- Wait until an element shows a text.
---@async
---@param css string
---@param text string  part of what it shows
---@param timeout number?  seconds; default 10
function Browser:asee(css, text, timeout)
  local shown
  local ok, err = pcall(task.atimeout, timeout or 10, function()
    repeat
      shown = self:aexecute(
        "const e = document.querySelector(arguments[0]); return e && e.textContent",
        css
      )
      task.asleep(0.02)
    until shown and shown:find(text, 1, true)
  end)
  if not ok and errors.is_error(err, errors.Timeout) then
    local told = "%s did not show %q within %g seconds, but %s"
    local instead = shown and ("%q"):format(shown) or "is not there"
    error(told:format(css, text, timeout or 10, instead), 2)
  elseif not ok then
    error(err, 0)
  end
end

---@async
---@return string
function Browser:atitle()
  return self:_acommand("GET", "/title")
end

--- The end of it: pages are closed, and with them their connections.
---@async
function Browser:aquit()
  if self.session then
    local session = self.session
    self.session = nil
    acommand("DELETE", session)
  end
end

---@async
---@return string
function Element:atext()
  return self.browser:_acommand("GET", self.path .. "/text")
end

---@async
function Element:aclick()
  self.browser:_acommand("POST", self.path .. "/click")
end

--- Type a text, as on a keyboard; "\n" is the return key.
---@async
---@param text string
function Element:atype(text)
  self.browser:_acommand("POST", self.path .. "/value", { text = text })
end

---@async
---@param name string
---@return string?
function Element:aattribute(name)
  return self.browser:_acommand("GET", ("%s/attribute/%s"):format(self.path, name))
end

function Browser:remains()
  return self.session and "an open browser" or nil
end

function Browser:drop()
  pcall(self.aquit, self)
end

return Browser
