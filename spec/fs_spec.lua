--- Folders, as commands look at them.

local fs = require("rille.core").fs
local script = require("spec.support.script")

describe("a folder", function()
  after_each(script.clean)

  it("is listed in order, and what is none says so", function()
    local path = script.folder({ ["b.lua"] = "", ["a/c"] = "", [".hidden"] = "" })
    assert.same({ ".hidden", "a", "b.lua" }, fs.list(path))
    local names, err, errno = fs.list(path .. "/nowhere")
    assert.is_nil(names)
    assert.equal("ENOENT", errno)
    assert.equal("no such file or directory", err.message)
    assert.equal("ENOTDIR", (select(3, fs.list(path .. "/b.lua"))))
  end)

  it("is made, once", function()
    local path = script.folder({})
    assert.is_true(fs.mkdir(path .. "/x"))
    assert.is_true(fs.mkdir(path .. "/x"))
    assert.same({}, fs.list(path .. "/x"))
    assert.equal("ENOENT", (select(3, fs.mkdir(path .. "/y/z"))))
  end)

  it("has one real path", function()
    local path = script.folder({ ["a/b"] = "" })
    assert.equal(fs.realpath(path .. "/a"), fs.realpath(path .. "/a/../a/."))
    assert.is_nil((fs.realpath(path .. "/c")))
  end)
end)

it("a file is no terminal", function()
  local fd = fs.open("/dev/null")
  assert.is_false(fs.is_terminal(fd))
  fs.close(fd)
end)
