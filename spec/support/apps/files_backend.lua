-- A backend of the layer that joins processes by a file, for spec/server/outside_spec.lua:
-- `layer = "files:FOLDER"`. FOLDER/bus has a line for every message; whoever is there reads what is
-- new a hundred times a second. While FOLDER/down exists the connection is lost. What a worker
-- follows is in FOLDER/<its prefix>, which is its trace.
local outside = require("rille.layer.outside")
local rille = require("rille")

local Files = require("rille.layer.backend"):extend("Files")

local function read(path, from)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  file:seek("set", from or 0)
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, mode, text)
  local file = assert(io.open(path, mode))
  file:write(text)
  file:close()
end

function Files.check() end

function Files:init(options)
  self.folder = options.url:match("^files:([^?]*)")
  self.groups, self.own = {}, {}
end

function Files:hear(line)
  local from, kind, name, text = line:match("^(%S+) (%S+) (%S+) (.*)$")
  local ours = false
  for _, prefix in ipairs(outside.prefixes()) do
    ours = ours or prefix == from
  end
  local message = rille.json.decode(text)
  if kind == "asend" and name:find(outside.prefixes()[1], 1, true) == 1 then
    outside.deliver(name, message)
  elseif kind == "agroup_send" and not ours and self.groups[name] then
    outside.deliver_group(name, message)
  end
end

function Files:astart()
  local at = #(read(self.folder .. "/bus") or "")
  outside.serve(function()
    while true do
      if io.open(self.folder .. "/down") then
        outside.down("FOLDER/down exists")
        at = #(read(self.folder .. "/bus") or "") -- what is said meanwhile is missed
      else
        outside.up()
        local new = read(self.folder .. "/bus", at) or ""
        for line in new:gmatch("([^\n]*)\n") do
          at = at + #line + 1
          self:hear(line)
        end
      end
      rille.asleep(0.01)
    end
  end)
end

function Files:trace()
  return self.folder .. "/" .. outside.prefixes()[1]
end

function Files:astop()
  os.remove(self:trace())
end

function Files:afollow(changes)
  rille.asleep(0.02) -- as if it were far away
  self.groups = changes.all and {} or self.groups
  for _, group in ipairs(changes.joined) do
    self.groups[group] = true
  end
  for _, group in ipairs(changes.left) do
    self.groups[group] = nil
  end
  local names = {}
  for name in pairs(self.groups) do
    names[#names + 1] = name
  end
  table.sort(names)
  write(self:trace(), "wb", table.concat(names, "\n"))
end

for _, method in ipairs { "asend", "agroup_send" } do
  Files[method] = function(self, name, message)
    local line = { outside.prefixes()[1], method, name, rille.json.encode(message) }
    write(self.folder .. "/bus", "ab", table.concat(line, " ") .. "\n")
  end
end

outside.schemes.files = Files

return Files
