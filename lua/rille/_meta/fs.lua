---@meta rille.core.fs

--- Files, read off the loop's thread, and folders, for commands (src/bind/bind_fs.c).

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

--- What is in a folder, in the order of bytes. Blocks, as those below.
---@param folder string
---@return string[]? names
---@return rille.Error? err
---@return string? errno  its name
function fs.list(folder) end

--- Make a folder, unless it is there.
---@param folder string
---@return true?
---@return rille.Error? err
---@return string? errno
function fs.mkdir(folder) end

--- A path made absolute, without links and dots.
---@param path string
---@return string?
---@return rille.Error? err
---@return string? errno
function fs.realpath(path) end

---@param fd integer  0: what we read, 1: what we say, 2: our errors
---@return boolean
function fs.is_terminal(fd) end

return fs
