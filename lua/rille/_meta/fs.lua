---@meta rille.core.fs

--- Files, read off the loop's thread (src/bind/bind_fs.c).

---@class rille.core.fs
local fs = {}

--- Open a file to read it. Whoever opens closes, also after an error.
---@async
---@param path string
---@return integer? fd
---@return number|rille.Error size   bytes
---@return number|string mtime       seconds since 1970; with an error its name, "ENOENT"
---@return boolean? regular          a file, and not a folder or a device
function fs.open(path) end

---@async
---@param fd integer
---@param offset number   bytes from the beginning
---@param bytes integer   at most, 1 to 262144
---@return string? data   "" at the end
---@return rille.Error? err
---@return string? errno  its name
function fs.read(fd, offset, bytes) end

---@param fd integer
function fs.close(fd) end

return fs
