--- Files that commands write.

local errors = require("rille.errors")
local fs = require("rille.core").fs

local files = {}

--- Make a folder and those around it. Raises what is in the way.
---@param path string
function files.make_folder(path)
  local made, err, errno = fs.mkdir(path)
  if not made and errno == "ENOENT" then
    local outer = path:match("^(.+)/[^/]+/*$")
    if outer then
      files.make_folder(outer)
      made, err = fs.mkdir(path)
    end
  end
  if not made then
    error(errors.ConfigurationError(("cannot make the folder %s: %s"):format(path, err.message)), 0)
  end
end

--- Write a whole file, and the folders around it. Raises what is in the way.
---@param path string
---@param text string
function files.write(path, text)
  local folder = path:match("^(.+)/[^/]+$")
  if folder then
    files.make_folder(folder)
  end
  local file, why = io.open(path, "wb")
  local written = file and file:write(text)
  if not (file and file:close() and written) then
    why = why or "the disk may be full"
    error(errors.ConfigurationError(("cannot write %s: %s"):format(path, why)), 0)
  end
end

return files
