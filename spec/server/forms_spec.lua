--- Forms, sent by curl and by Node.js.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

local APP = "spec/support/apps/forms.lua"

describe("a form", function()
  local it_runs

  after_each(server.clean)

  local function start(env)
    it_runs = server.start({ "run", APP }, { env = env })
  end

  --- What the application says to a form that curl sends; the status before it.
  local function curl(path, ...)
    local words = { "curl -sS --max-time 15 -w '\\n%{http_code}'" }
    for _, word in ipairs { ... } do
      words[#words + 1] = server.quote(word)
    end
    words[#words + 1] = it_runs.url .. path .. " 2>&1"
    local body, status = server.shell(table.concat(words, " ")):match("^(.*)\n(%d+)$")
    return tonumber(status), status == "200" and json.decode(body) or body
  end

  it("comes urlencoded, or with files, from curl", function()
    start()
    local path = it_runs.folder .. "/some file.txt"
    server.write(path, ("0123456789"):rep(30000))
    local status, said = curl("/form", "-d", "a=1&b=2+3", "-d", "a=%C3%BC")
    assert.same({ 200, "1", "2 3" }, { status, said.first.a, said.first.b })
    assert.same({ "1", "ü" }, said.all.a)
    assert.is_true(said.again)
    status, said = curl("/form", "-F", "a=1", "-F", "a=2", "-F", "f=@" .. path, "-F", "f=@" .. path)
    assert.same({ 200, "1", { "1", "2" } }, { status, said.first.a, said.all.a })
    assert.same({
      name = "f",
      filename = "some file.txt",
      type = "text/plain",
      length = 300000,
      first = "01234567",
    }, said.files[2])
    assert.equal(0, it_runs:stop())
  end)

  it("comes from Node.js", function()
    start()
    local answer = clients.run("form.js", it_runs.url .. "/form"):get("answer")
    assert.equal(200, answer.status, answer.body)
    local said = json.decode(answer.body)
    assert.same({ "Zoë", "second" }, said.all.name)
    assert.same({ "", "a\r\nb\r\n" }, { said.first.empty, said.first.lines })
    assert.same({ "file", "text/x-odd", 10 }, {
      said.files[1].name,
      said.files[1].type,
      said.files[1].length,
    })
  end)

  it("that is none is answered with 400, and one too large with 413", function()
    start()
    assert.equal(400, (curl("/form", "-d", "{}", "-H", "content-type: application/json")))
    local cut = "content-type: multipart/form-data; boundary=x"
    assert.equal(400, (curl("/form", "--data-binary", "--x\r\n", "-H", cut)))
    assert.equal(400, (curl("/parts", "-d", "a=b")))
    server.shell(("head -c 9000000 /dev/zero >%s/large"):format(it_runs.folder))
    assert.equal(413, (curl("/form", "-F", "f=@" .. it_runs.folder .. "/large")))
  end)

  it("of any size goes through a handler that is slower, in a few megabytes", function()
    start { SLOW = "0.001" }
    local function memory()
      local status = server.read_file(("/proc/%d/status"):format(it_runs.pid))
      return tonumber(status:match("VmHWM:%s*(%d+) kB")) * 1024
    end
    server.shell(("head -c 50000000 /dev/zero >%s/large"):format(it_runs.folder))
    curl("/parts", "-F", "a=1")
    local before = memory()
    local status, said = curl("/parts", "-F", "a=1", "-F", "f=@" .. it_runs.folder .. "/large")
    assert.equal(200, status)
    assert.same({ { "a", false, 1 }, { "f", "large", 50000000 } }, said)
    local grown = memory() - before
    assert.is_true(grown < 16 * 2 ^ 20, ("%.1f MiB more"):format(grown / 2 ^ 20))
  end)
end)
