-- Memory that is refused in the middle of anything: each block that a consumer's life asks for, one
-- by one. Every connection ends, nobody is left behind, no byte is lost, and the process lives.
local clients = require("spec.support.clients")
local json = require("cjson")
local server = require("spec.support.server")

--- How a connection may end: what its handler said of its work, and the close's code; or the status
--- of a refused handshake.
local ENDS = {
  ["500"] = true,
  ["all, 1000"] = true,
  ["all, 1011"] = true, -- what came after the work was refused it
  ["not enough memory, 1000"] = true,
  ["not enough memory, 1011"] = true,
  ["nothing, 1011"] = true,
}

describe("memory that is refused", function()
  after_each(server.clean)

  -- What is wanted for the first time meets another state of the process in the other order.
  for _, order in ipairs { { 1, 20 }, { 20, 1 } } do
    local how = ("%d at a time, then %d"):format(unpack(order))
    it("ends what asked for it, wherever that is, and nothing else: " .. how, function()
      local it_runs = server.start { "run", "spec/support/apps/needy.lua", "--workers", "1" }
      for _, at_once in ipairs(order) do
        local said = clients.open("needy.py", it_runs.port, tostring(at_once)):wait("done")
        assert.is_true(said.count > 50, json.encode(said))
        local told, not_told = said.ends["not enough memory, 1000"], said.ends["nothing, 1011"]
        assert.is_true((told or 0) + (not_told or 0) > 10, json.encode(said))
        for ending in pairs(said.ends) do
          assert.is_true(ENDS[ending] or false, ending .. "\n" .. it_runs:stderr())
        end
      end
      local census
      local alone = server.eventually(15, function()
        census = json.decode(clients.fetch(it_runs.url .. "/census").body)
        return census.consumers == 1 and census.tasks == 1 and census.leases == 0
      end)
      assert.is_true(alone or false, json.encode(census))
      assert.equal(0, it_runs:stop(), it_runs:stderr()) -- it would not if a byte were missing
    end)
  end
end)
