--- What `rille dev` shows in a browser when something is wrong: the error with its traceback, and
--- the lines of the script around it.
---
--- While the last load of the code has failed, whoever asks for a page gets this one instead: GET
--- or HEAD with `text/html` among what is accepted. Everybody else is served by the old code. A
--- handler that raises is shown in the same way. The page asks once a second whether that is still
--- so, by its own address with a field of the header, which is answered here before the script sees
--- it; when the code has changed it loads anew.

local core = require("rille.core")
local generations = require("rille.generations")

local consumer = core.consumer
local http = core.http

---@class rille.DevPages
local M = {}

local AROUND = 4 -- lines before and behind the one that is told of
local TITLES = {
  load = "The new code does not load",
  handler = "A handler failed",
}
local NOTES = {
  load = "The code before it serves on. This page goes away when a change loads.",
  handler = "This page loads anew when the code changes.",
}
local HTML = {
  ["content-type"] = "text/html; charset=utf-8",
  ["cache-control"] = "no-store",
}

---@type string?  why the last load failed
local failure
local failures = 0

local PAGE = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
  :root { color-scheme: light dark; --ink: #24292f; --dim: #6e7781; --back: #fff; --line: #d0d7de;
    --hot: #cf222e; --glow: #ffebe9 }
  @media (prefers-color-scheme: dark) { :root { --ink: #d1d5da; --dim: #8b949e; --back: #161b22;
    --line: #30363d; --hot: #ff7b72; --glow: #3c1618 } }
  body { margin: 0; color: var(--ink); background: var(--back);
    font: 16px/1.5 system-ui, sans-serif }
  main { max-width: 60rem; margin: 3rem auto; padding: 0 1.5rem }
  h1 { font-size: 1.3rem; margin: 0 }
  p { color: var(--dim); margin: .3rem 0 1.5rem }
  pre { font: 13px/1.6 ui-monospace, monospace; overflow-x: auto; margin: 0 0 1.5rem;
    padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 6px }
  .what { border-left: 4px solid var(--hot); white-space: pre-wrap }
  .file { color: var(--dim); font-size: .9rem; margin: 0 0 .3rem }
  i { color: var(--dim); font-style: normal; user-select: none }
  b { display: block; font-weight: 600; background: var(--glow); margin: 0 -1rem; padding: 0 1rem }
</style>
<main>
<h1>$title</h1>
<p>$note</p>
<pre class="what">$text</pre>
$source</main>
$script</html>
]]

local SCRIPT = [[
<script>
  setInterval(async () => {
    try {
      const asked = { headers: { "rille-page": "$id" }, cache: "no-store" };
      const answer = await fetch(location.href, asked);
      if (answer.headers.get("rille-page") !== "$id") location.reload();
    } catch (gone) {} // the server restarts: it will be asked again
  }, 1000);
</script>
]]

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text)
  return (text:gsub('[&<>"]', ENTITIES))
end

local function fill(template, values)
  return (template:gsub("%$(%l+)", values))
end

--- What a page that is shown stands for: another one, and it is to be loaded anew.
local function present()
  local serving = generations.serving
  return ("%d.%d"):format(serving and serving.number or 0, failures)
end

--- Lines around one of a file; nil when it cannot be read.
local function excerpt(path, line)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local rows, number = {}, 0
  for text in file:lines() do
    number = number + 1
    if number >= line - AROUND and number <= line + AROUND then
      local row = ("<i>%4d</i>  %s"):format(number, escape(text))
      rows[#rows + 1] = number == line and "<b>" .. row .. "</b>" or row .. "\n"
    end
  end
  file:close()
  return rows[1] and table.concat(rows)
end

--- A file of the script, by its name in a message, where Lua may have cut off the beginning.
local function find_file(name)
  local serving = generations.serving
  local folder = serving.folder .. "/"
  if name:sub(1, #folder) == folder and not name:find("..", #folder, true) then
    return name
  end
  local ending = name:match("^%.%.%.(.+)$")
  for _, path in ipairs(ending and serving.files or {}) do
    if path:sub(-#ending) == ending then
      return path
    end
  end
end

--- The script's first line that an error tells of, with what is around it.
local function source_of(text)
  for name, line in text:gmatch("([^%s:\"'()]+%.lua):(%d+)") do
    local path = find_file(name)
    local lines = path and excerpt(path, tonumber(line))
    if lines then
      local where = escape(("%s:%s"):format(path, line))
      return ('<p class="file">%s</p>\n<pre>%s</pre>\n'):format(where, lines)
    end
  end
  return ""
end

local function page(kind, text, again)
  return fill(PAGE, {
    title = TITLES[kind],
    note = NOTES[kind],
    text = escape(text),
    source = source_of(text),
    script = again and fill(SCRIPT, { id = present() }) or "",
  })
end

--- The last load failed with these words; nil: it did not.
---@param text string?
function M.trouble(text)
  failures = failures + (text and 1 or 0)
  failure = text
end

--- A page for a handler that raised.
---@param text string
---@param again boolean  may it be asked for once more by itself?
---@return string
function M.of_handler(text, again)
  return page("handler", text, again)
end

--- Answer a request in the place of the script?
---@param id number
---@param method string
---@param fields string  as Scope.new takes it
---@return boolean answered
function M.answer(id, method, fields)
  if http.field(fields, "rille-page") then
    consumer.unlogged(id)
    consumer.respond(id, 204, { ["rille-page"] = present(), ["cache-control"] = "no-store" })
    return true
  end
  local accepts = failure and http.field(fields, "accept")
  if not accepts or not accepts:find("text/html", 1, true) then
    return false
  elseif method ~= "GET" and method ~= "HEAD" then
    return false
  end
  consumer.respond(id, 500, HTML, page("load", failure, true))
  return true
end

return M
