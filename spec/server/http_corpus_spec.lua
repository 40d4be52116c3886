-- The corpus of requests in spec/support/http_corpus.lua, against the real binary.
local clients = require("spec.support.clients")
local corpus = require("spec.support.http_corpus")
local json = require("cjson")
local server = require("spec.support.server")

--- Is the end of the connection the server's to make? Otherwise the client half closes.
local function ends_by_itself(answers)
  local last = tonumber(answers:match("([^;%s]+)[^;]*$"))
  return last ~= nil and last >= 400
end

describe("HTTP/1.1, with requests of a corpus:", function()
  local answered = {}

  setup(function()
    local it_runs = server.start { "run", "spec/support/apps/corpus.lua" }
    local sent = {}
    for _, group in ipairs(corpus) do
      for i = 2, #group do
        sent[#sent + 1] = { clients.to_characters(group[i][2]), not ends_by_itself(group[i][3]) }
      end
    end
    local path = it_runs.folder .. "/corpus.json"
    server.write(path, json.encode(sent))
    local all = clients.run("corpus.py", tostring(it_runs.port), path):all("answered")
    assert.equal(#sent, #all)
    local n = 0
    for _, group in ipairs(corpus) do
      for i = 2, #group do
        n = n + 1
        answered[group[i]] = all[n]
      end
    end
    assert.equal(0, it_runs:stop(), it_runs:stderr())
    assert.is_nil(it_runs:stderr():find("traceback", 1, true), it_runs:stderr())
    server.clean()
  end)

  for _, group in ipairs(corpus) do
    describe(group[1] .. ":", function()
      for i = 2, #group do
        local case = group[i]
        it(case[1], function()
          assert.same({ case[3], "closed" }, answered[case].whole)
          assert.same({ case[3], "closed" }, answered[case].pieces)
        end)
      end
    end)
  end
end)
