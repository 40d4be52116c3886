--- Ways to a server: passwords, TLS, libpq's environment, several databases side by side.

local clients = require("spec.support.clients")
local cluster = require("spec.support.cluster")
local databases = require("spec.support.databases")
local db = require("rille.db")
local json = require("cjson")
local models = require("rille.models")
local rille = require("rille")
local server = require("spec.support.server")

local Row = models.define("faults_row", { label = models.text() }, { name = "Row" })
local PASSWORD = "open sesame"
local ENCODED = "open%20sesame"

describe("a database connects", function()
  local pg, keys

  --- A certificate authority NAME, and unless `alone` a key and certificate for `localhost`.
  local function authority(name, alone)
    return cluster.arun(([[
      set -e
      cd %s
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=%s -keyout %s.key -out %s.crt
      [ -z "%s" ] || exit 0
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
        -keyout server.key -out server.csr
      echo subjectAltName=DNS:localhost >server.ext
      openssl x509 -req -days 2 -in server.csr -CA %s.crt -CAkey %s.key -CAcreateserial \
        -extfile server.ext -out server.crt
    ]]):format(server.quote(keys), name, name, name, alone and "yes" or "", name, name))
  end

  lazy_setup(function()
    keys = server.scratch()
    pg = cluster.start { "password_encryption = 'scram-sha-256'", "log_connections = on" }
    authority("root")
    authority("stranger", true)
    cluster.arun(([[
      cp %s/server.key %s/server.crt %s/data/
      cd %s/data
      chmod 600 server.key
      chown --reference=PG_VERSION server.key server.crt]]):format(
      server.quote(keys),
      server.quote(keys),
      server.quote(pg.folder),
      server.quote(pg.folder)
    ))
    pg:sql(("CREATE ROLE ali LOGIN PASSWORD '%s'"):format(PASSWORD))
    pg:sql("CREATE ROLE baba LOGIN")
    pg:sql("CREATE DATABASE cave OWNER ali")
    pg:sql("CREATE DATABASE two")
    pg:admit {
      "local all all trust",
      "host all ali 127.0.0.1/32 scram-sha-256",
      "hostssl all ali ::1/128 scram-sha-256",
      "hostssl all baba 127.0.0.1/32 trust",
      "host all rille 127.0.0.1/32 trust",
    }
    pg:control("configure", "ssl = on")
    cluster.eventually(function()
      return pg:sql("SHOW ssl") == "on"
    end)
  end)

  lazy_teardown(function()
    cluster.clean()
    server.clean()
  end)

  after_each(databases.close_all)

  local function open(url, patience)
    return databases.open("faults", { url = url, acquire_timeout = patience or 30 })
  end

  local function url(user, host, rest)
    return ("postgresql://%s@%s:%d/postgres%s"):format(user, host, pg.port, rest or "")
  end

  --- Who we are, there.
  local function user_of(one)
    return one:aquery("SELECT current_user AS me")[1].me
  end

  --- What keeps one from connecting there. Never with the password in it.
  local function refusal(where)
    local why, err = databases.refusal(function(patience)
      return open(where, patience)
    end)
    for _, field in pairs(err) do
      assert.is_nil(tostring(field):find("sesame", 1, true))
    end
    return why
  end

  describe("with a password (SCRAM)", function()
    it("in the URL, which it shows without it", function()
      local one = open(url("ali:" .. ENCODED, "127.0.0.1"))
      assert.equal("ali", user_of(one))
      for _, shown in ipairs { one.url, tostring(one) } do
        assert.is_nil(shown:find("sesame", 1, true))
      end
      assert.matches("^SCRAM", pg:sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'ali'"))
    end)

    it("that is wrong, and is told so", function()
      local told = refusal(url("ali:sesame%20street", "127.0.0.1"))
      assert.matches("password authentication failed", told, 1, true)
    end)

    it("that is missing, and is told so", function()
      assert.matches("no password supplied", refusal(url("ali", "127.0.0.1")), 1, true)
    end)
  end)

  describe("by TLS", function()
    local function verified(host, root)
      return url("baba", host, "?sslmode=verify-full&sslrootcert=" .. keys .. "/" .. root)
    end

    it("to a server whose certificate is right", function()
      local one = open(verified("localhost", "root.crt"))
      assert.equal("baba", user_of(one))
      assert.is_true(one:aquery(
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
      )[1].ssl)
    end)

    it("in many statements at once, large and small", function()
      local one = open(verified("localhost", "root.crt"))
      local jobs = {}
      for i = 1, 60 do
        jobs[i] = function()
          local size = i % 3 == 0 and 300000 or i
          local text = one:aquery("SELECT repeat('x', $1::int) || $2::text AS t", size, "\n")[1].t
          return #text - size
        end
      end
      for _, rest in ipairs(rille.agather(jobs)) do
        assert.equal(1, rest)
      end
    end)

    it("but not to one that somebody else vouches for", function()
      local told = refusal(verified("localhost", "stranger.crt"))
      assert.matches("certificate verify failed", told, 1, true)
    end)

    it("but not to one of another name", function()
      local told = refusal(verified("127.0.0.1", "root.crt"))
      assert.matches('does not match host name "127.0.0.1"', told, 1, true)
    end)

    it("but not without, where the server insists", function()
      local told = refusal(url("baba", "127.0.0.1", "?sslmode=disable"))
      assert.matches("no encryption", told, 1, true)
    end)

    it("and notices that an idle connection was closed", function()
      local one = open(verified("localhost", "root.crt"))
      for _ = 1, 3 do
        local pid = one:aquery("SELECT pg_backend_pid() AS pid")[1].pid
        pg:sql(("SELECT pg_terminate_backend(%d, 5000)"):format(pid))
        assert.equal("baba", user_of(one))
      end
    end)
  end)

  describe("where the environment says", function()
    --- What the program is there, with such an environment.
    local function whoami(env, database)
      env.HOME = keys
      local it_runs = server.start(
        { "run", "spec/support/apps/whoami.lua", "--log-level", "debug" },
        { env = env, database = database or "postgresql://" }
      )
      local answer = clients.fetch(it_runs.url .. "/whoami")
      local log = it_runs:stderr()
      it_runs:stop()
      assert.is_nil(log:find("sesame", 1, true), "the password is in the log")
      assert.is_nil(answer.body:find("sesame", 1, true), "the password is in the answer")
      return json.decode(answer.body), answer.status
    end

    local function here(more)
      local env = { PGHOST = "127.0.0.1", PGPORT = pg.port, PGUSER = "rille" }
      for name, value in pairs(more or {}) do
        env[name] = value
      end
      return env
    end

    it("by PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD", function()
      local me = whoami(here { PGUSER = "ali", PGDATABASE = "cave", PGPASSWORD = PASSWORD })
      assert.same({ "ali", "cave", pg.port }, { me.user, me.name, me.port })
    end)

    it("by PGHOST when it is a list of names, at PGPORT", function()
      local env = here { PGHOST = "localhost,localhost", PGDATABASE = "cave" }
      assert.equal(pg.port, whoami(env).port)
    end)

    it("at PGPORT when the URL names a host alone", function()
      for _, host in ipairs { "localhost", "127.0.0.1" } do
        local me = whoami({ PGPORT = pg.port }, "postgresql://rille@" .. host .. "/two")
        assert.equal(pg.port, me.port)
      end
    end)

    it("unless the URL says otherwise", function()
      local me = whoami(
        { PGHOST = "192.0.2.1", PGPORT = "1", PGUSER = "nobody", PGDATABASE = "nowhere" },
        url("rille", "127.0.0.1")
      )
      assert.same({ "rille", "postgres", pg.port }, { me.user, me.name, me.port })
    end)

    it("by PGSSLMODE and PGAPPNAME", function()
      local env = here { PGSSLMODE = "require", PGAPPNAME = "faults", PGDATABASE = "two" }
      local me = whoami(env)
      assert.same({ true, "faults" }, { me.ssl, me.application })
      env.PGSSLMODE = "disable"
      assert.is_false(whoami(env).ssl)
    end)

    it("by PGOPTIONS, beside its own", function()
      local me = whoami(here { PGOPTIONS = "-c work_mem=1234kB", PGDATABASE = "two" })
      assert.same({ "1234kB", "2026-01-02 03:04:05+00" }, { me.work_mem, me.at })
    end)

    it("but reads times in its own way", function()
      local me = whoami(here {
        PGTZ = "Asia/Tokyo",
        PGDATESTYLE = "German",
        PGCLIENTENCODING = "LATIN1",
        PGDATABASE = "two",
      })
      assert.equal("2026-01-02 03:04:05+00", me.at)
    end)

    it("by PGPASSFILE", function()
      server.write(keys .. "/passes", ("127.0.0.1:%d:*:ali:%s\n"):format(pg.port, PASSWORD))
      server.shell("chmod 600 " .. server.quote(keys .. "/passes"))
      local me = whoami(here {
        PGUSER = "ali",
        PGDATABASE = "cave",
        PGPASSFILE = keys .. "/passes",
      })
      assert.equal("ali", me.user)
    end)

    describe("in a service file:", function()
      local file

      lazy_setup(function()
        file = keys .. "/services"
        server.write(
          file,
          ("[cave]\nhost=127.0.0.1\nport=%d\nuser=ali\ndbname=cave\npassword=%s\n"):format(
            pg.port,
            PASSWORD
          )
        )
      end)

      it("by PGSERVICE", function()
        local me = whoami { PGSERVICEFILE = file, PGSERVICE = "cave" }
        assert.same({ "ali", "cave" }, { me.user, me.name })
      end)

      it("by the URL, whatever PGHOST and PGPORT say", function()
        local env = { PGSERVICEFILE = file, PGHOST = "192.0.2.1", PGPORT = "1" }
        local me = whoami(env, "postgresql://?service=cave")
        assert.same({ "ali", "cave" }, { me.user, me.name })
      end)
    end)

    it("or tells what is wrong there without the password", function()
      local env = here { PGUSER = "ali", PGPASSWORD = PASSWORD .. " street" }
      local me, status = whoami(env, "postgresql://?acquire_timeout=3")
      assert.equal(503, status)
      assert.matches("password authentication failed", me.message, 1, true)
    end)
  end)

  describe("beside another, by name:", function()
    lazy_setup(function()
      for name, label in pairs { postgres = "first", two = "second" } do
        local one = db.Database("faults", { url = pg.url:gsub("[^/]+$", name) })
        one:aexecute("CREATE TABLE faults_row (id bigint PRIMARY KEY, label text NOT NULL)")
        one:aexecute("INSERT INTO faults_row VALUES (1, $1)", label)
        one:aclose()
      end
    end)

    before_each(function()
      db.configure {
        faults_one = pg.url,
        faults_two = { url = pg.url:gsub("[^/]+$", "two"), max_connections = 2 },
        faults_gone = "postgresql://127.0.0.1:1/x?acquire_timeout=0.2",
      }
    end)

    after_each(function()
      for _, name in ipairs { "faults_one", "faults_two", "faults_gone" } do
        db.databases[name]:aclose()
        db.databases[name] = nil
      end
    end)

    local function label(name)
      return Row.objects:using(name):aget({ id = 1 }).label
    end

    it("each query goes to the one it names", function()
      local jobs = {}
      for i = 1, 40 do
        jobs[i] = function()
          return label(i % 2 == 0 and "faults_two" or "faults_one")
        end
      end
      for i, got in ipairs(rille.agather(jobs)) do
        assert.equal(i % 2 == 0 and "second" or "first", got)
      end
    end)

    it("a transaction on one is none on the other", function()
      local one, two = db.databases.faults_one, db.databases.faults_two
      pcall(one.atomic, one, function()
        one:aexecute("UPDATE faults_row SET label = 'gone'")
        two:aexecute("UPDATE faults_row SET label = 'kept'")
        assert.same({ "gone", "kept" }, { label("faults_one"), label("faults_two") })
        assert.same({ true, false }, { one:in_atomic_block(), two:in_atomic_block() })
        error("no")
      end)
      assert.same({ "first", "kept" }, { label("faults_one"), label("faults_two") })
      two:aexecute("UPDATE faults_row SET label = 'second'")
    end)

    it("one that is down hurts only its own", function()
      local jobs = {}
      for i = 1, 20 do
        jobs[i] = function()
          if i % 2 == 0 then
            return label("faults_one")
          end
          local ok, err = pcall(label, "faults_gone")
          assert.is_false(ok)
          assert.matches("database faults_gone", err.message, 1, true)
          return "first"
        end
      end
      for _, got in ipairs(rille.agather(jobs)) do
        assert.equal("first", got)
      end
    end)
  end)
end)
