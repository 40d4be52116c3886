--- Scripts for specs: folders of files, removed by `after_each(script.clean)`.

local M = {}

local folders = {}

--- A new folder with these files; names may have folders in them.
---@param files table<string, string>  name to text
---@return string path
function M.folder(files)
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute(("mkdir '%s'"):format(path)) == 0)
  for name, text in pairs(files) do
    M.write(path, name, text)
  end
  folders[#folders + 1] = path
  return path
end

--- Remove what `folder` has made.
function M.clean()
  while #folders > 0 do
    os.execute(("rm -r '%s'"):format(table.remove(folders)))
  end
end

--- Write a file of a folder.
function M.write(folder, name, text)
  local inner = name:match("^(.*)/[^/]*$")
  if inner then
    os.execute(("mkdir -p '%s/%s'"):format(folder, inner))
  end
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

return M
