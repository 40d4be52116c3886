---@meta rille.core.library

--- The text of rille's own Lua files and declarations by path: "rille/init.lua". In the binary
--- (src/host/library.c).
---@type table<string, string>
local library = {}

return library
