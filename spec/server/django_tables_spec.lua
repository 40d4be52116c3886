--- rille inspectdb on a Django project's tables, which Django itself has made: its models read what
--- Django wrote, and write what fits.

local backends = require("spec.support.backends")
local server = require("spec.support.server")

local schema = require("rille.models.schema")

for _, backend in ipairs(backends.all({})) do
  describe("a Django project on " .. backend.name .. " #slow", function()
    local database, models, key = backend.database, nil, nil

    setup(function()
      backend.make()
      local url = database.settings.url
      key = server.shell(
        "/usr/bin/python3 spec/support/django_tables.py "
          .. server.quote((url:gsub("%%3D", "=")))
      ):match("%w+")
      local status, err, out = server.run({ "inspectdb", "--database", url })
      assert(status == 0, err)
      models = assert(loadstring(out, "@models.lua"))()
    end)
    teardown(function()
      backend.drop()
      server.clean()
    end)

    local function all(name)
      return models[name].objects:using(database)
    end

    it("has its users and groups", function()
      local ann = all("AuthUser"):aget({ username = "ann" })
      assert.same({ true, false }, { ann.is_active, ann.is_superuser })
      assert.truthy(ann.password:find("^pbkdf2_sha256%$"))
      assert.truthy(ann.date_joined:find("^20%d%d%-"))
      assert.is_nil(ann.last_login)
      local member = all("AuthUserGroups")
        :filter({ user__username = "ann" })
        :select_related("group", "user")
        :aget()
      assert.equal("readers", member.group.name)
      assert.equal(ann, member.user)
      local readers = { authusergroups__group__name = "readers" }
      assert.equal(ann, all("AuthUser"):aget(readers))
      assert.equal(0, all("AuthUser"):exclude(readers):acount())
      assert.equal(1, ann.authusergroups_set:acount())
      local may = all("AuthPermission"):filter({ content_type__model = "user" })
      assert.equal("Can add user", may:aget({ codename = "add_user" }).name)
    end)

    it("has its sessions", function()
      local session = all("DjangoSession"):aget({ pk = key })
      assert.equal(key, session.session_key)
      assert.truthy(session.session_data:find("^[%w_:-]+$"))
    end)

    it("gets rows that fit", function()
      local group = all("AuthGroup"):acreate({ name = "writers" })
      local ann = all("AuthUser"):aget({ username = "ann" })
      all("AuthUserGroups"):acreate({ user = ann, group = group })
      assert.equal(2, all("AuthUserGroups"):filter({ user__username = "ann" }):acount())
      local ok = pcall(all("AuthGroup").acreate, all("AuthGroup"), { name = "writers" })
      assert.is_false(ok)
    end)

    it("is left alone", function()
      local list = {}
      for _, model in pairs(models) do
        list[#list + 1] = model
      end
      assert.equal(10, #list)
      assert.same({}, schema.acreate_missing(database, list))
      assert.same({}, schema.acheck(database, list))
      assert.same({}, require("rille.migrations.app").wanted(list):names())
    end)
  end)
end
