-- What a connection to the default database is, for spec/faults/connect_spec.lua.
local rille = require("rille")

local function whoami()
  local ok, rows = pcall(rille.db.aquery, rille.db, [[
    SELECT current_user AS "user", current_database() AS name, inet_server_port() AS port,
           current_setting('application_name') AS application,
           current_setting('work_mem') AS work_mem,
           '2026-01-02 03:04:05+00'::timestamptz AS at,
           (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS ssl]])
  if ok then
    return 200, rows[1]
  end
  return 503, { message = tostring(rows) }
end

return rille.app {
  routes = { rille.get("/whoami", whoami) },
}
