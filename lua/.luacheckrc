-- From the top of the checkout: luacheck --config lua/.luacheckrc lua spec examples

std = "luajit"
max_line_length = 100
ignore = { "212/self" } -- methods that need no self keep the colon of their neighbours

files["**/*_spec.lua"] = { std = "+busted" }

-- Declarations: parameters without a body.
files["**/_meta/*.lua"] = { ignore = { "212" }, max_line_length = false }

-- busted ends with os.exit; the runner comes back instead.
files["**/testing/runner.lua"] = { globals = { "os.exit" } }

-- Replaced on purpose, once per state.
files["**/rille/coroutine.lua"] = { globals = { "coroutine.resume", "coroutine.wrap" } }

-- Methods to override: their parameters are named for the reader.
files["**/rille/consumer/*.lua"] = { ignore = { "212" } }
files["**/rille/layer/backend.lua"] = { ignore = { "212" } }
files["**/rille/layer/log.lua"] = { ignore = { "212" } }
