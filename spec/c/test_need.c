/* Scripts that are refused memory, at each place where they ask for some: they get the error there,
 * and nothing is lost, changed or broken by it. */
#include "unit.h"

#include "vm/vm.h"

#include <unistd.h>

enum { MANY = 20000 }; /* requests; no script below makes so many */

static rl_loop loop;
static rl_vm vm;

static void open_vm(void)
{
    rl_err err;

    CHECK_INT(rl_vm_init(&vm, &loop, &(rl_vm_opts){0}, &err), 0);
}

static void close_vm(void)
{
    rl_vm_fini(&vm); /* aborts if a byte is missing */
    uv_run(&loop.uv, UV_RUN_NOWAIT);
}

/* The string that the script returned, or the error. */
static const char *run(const char *script, uint64_t after, uint64_t refusals)
{
    static char said[512];
    rl_err err;

    CHECK(luaL_loadstring(vm.L, script) == 0);
    rl_need_inject(&vm.need, after, refusals);
    int rc = rl_vm_call(&vm, 0, 1, NULL, &err);
    vm.need.injected = 0;
    snprintf(said, sizeof(said), "%s", rc < 0 ? err.msg : lua_tostring(vm.L, -1));
    if (rc == 0)
        lua_pop(vm.L, 1);
    return said;
}

/* Refuse the script's first request, its second, and so on, until it ends before it makes the next.
 * It catches what it is refused, and says "well" whatever happens, unless the error came outside of
 * what it catches. */
static void refuse_each(const char *script, uint64_t refusals)
{
    uint64_t n, refused, survived = 0;

    rl_vm_collect_all(&vm);
    for (n = 0; n < MANY; n++) {
        refused = loop.counters.memory_refused;
        const char *said = run(script, n, refusals);
        if (loop.counters.memory_refused == refused)
            break;
        if (strcmp(said, "well") == 0)
            survived++;
        else if (strcmp(said, "not enough memory") != 0)
            unit_check(0, said, __FILE__, __LINE__);
        rl_vm_collect_all(&vm);
    }
    CHECK(n > 0 && n < MANY);
    CHECK(survived > 0);
}

static void refuse(const char *script)
{
    refuse_each(script, 1);
    refuse_each(script, 5);
}

/* Twenty variables make a closure that is no small block of the heap's any more. */
static void closures_come_with_their_variables(void)
{
    refuse("local kept = {}\n"
           "pcall(function()\n"
           "  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t = 1\n"
           "  local function all()\n"
           "    return a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t\n"
           "  end\n"
           "  local u, v, w, x, y, z, A, B, C, D = 1\n"
           "  local function more()\n"
           "    return a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t,\n"
           "      u, v, w, x, y, z, A, B, C, D\n"
           "  end\n"
           "  kept[1] = function() return a, more end\n"
           "  for i = 1, 5 do\n"
           "    local one, two = i, kept\n"
           "    kept[1 + i] = function() one = two; return one end\n"
           "  end\n"
           "end)\n"
           "return 'well'");
}

/* So does a function that is loaded: it has its variables from nobody. */
static void dumped_functions_come_with_their_variables(void)
{
    refuse("local a, b, c, d = 1, 2, 3, 4\n"
           "local dumped, text = pcall(string.dump, function() return a, b, c, d end)\n"
           "if not dumped then return 'well' end\n"
           "local kept\n"
           "pcall(function() kept = loadstring(text) end)\n"
           "return 'well'");
}

/* getenv leaves the stack's end where the frame of `grow` will link back to pcall. */
static void message_harms_no_frame(void)
{
    refuse("jit.off(true, true)\n"
           "local function run(before, after)\n"
           "  local t = {}\n"
           "  local function grow() for i = 1, 40 do t[i] = i end end\n"
           "  local a = os.getenv('HOME')\n"
           "  local ok, message = pcall(grow)\n"
           "  assert(a == os.getenv('HOME') and before == 1 and after == 2)\n"
           "  return ok or message\n"
           "end\n"
           "local said = run(1, 2)\n"
           "if said ~= true and said ~= 'not enough memory' then return said end\n"
           "return 'well'");
}

/* Here it is where `i` will be. */
static void message_harms_no_variable(void)
{
    refuse("jit.off(true, true)\n"
           "local t = {}\n"
           "local function grow() for i = 1, 40 do t[i] = i end end\n"
           "local function run()\n"
           "  os.getenv('HOME', 2, 3, 4, 5)\n"
           "  local a, b, c, d, e, f, g, h, i = 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
           "  pcall(grow)\n"
           "  return a + b + c + d + e + f + g + h + i\n"
           "end\n"
           "if run() ~= 45 then return 'a variable was changed' end\n"
           "return 'well'");
}

/* `grow` is called from compiled code, in whose course LuaJIT's frame stays that of `sum`; its
 * function lies where `grow` has a number. */
static void message_knows_the_frame_of_compiled_code(void)
{
    static const char script[] = "local kept = {}\n"
                                 "local function sum(n)\n"
                                 "  local s = 0\n"
                                 "  for i = 1, n do s = s + i end\n"
                                 "end\n"
                                 "local function grow(first)\n"
                                 "  local number = first\n"
                                 "  for i = 1, 60 do kept[#kept + 1] = { i } end\n"
                                 "end\n"
                                 "pcall(function()\n"
                                 "  for i = 1, 40 do\n"
                                 "    do local x, y, z = 1, 2, sum(100) end\n"
                                 "    grow(i, 1, 2, 3)\n"
                                 "  end\n"
                                 "end)\n"
                                 "return 'well'";
    uint64_t refused = loop.counters.memory_refused;

    for (uint64_t n = 0; n < 2000; n += 19) {
        close_vm();
        open_vm();
        CHECK(strcmp(run(script, n, 1), "well") == 0 || n < 10);
    }
    CHECK(loop.counters.memory_refused - refused > 100);
}

/* A function whose variables do not fit into the stack, which cannot grow: the message must not be
 * written behind them. The stacks on both sides belong to others, and are full. */
static void message_stays_in_its_stack(void)
{
    refuse("local function hold()\n"
           "  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = 1, 2, 3, 4, 5, 6, 7, 8\n"
           "  i, j, k, l, m, n, o, p = 9, 10, 11, 12, 13, 14, 15, 16\n"
           "  coroutine.yield()\n"
           "  return a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p\n"
           "end\n"
           "local holders, wide = {}, {}\n"
           "pcall(function()\n"
           "  for n = 1, 12 do\n"
           "    local names = ('v'):rep(20 + 6 * n):gsub('.', '%0,', 19 + 6 * n)\n"
           "    wide[n] = coroutine.create(loadstring('local ' .. names))\n"
           "    local holder = coroutine.wrap(hold)\n"
           "    holder()\n"
           "    holders[n] = holder\n"
           "  end\n"
           "end)\n"
           "for n = 1, #wide do coroutine.resume(wide[n]) end\n"
           "for n = 1, #holders do\n"
           "  if holders[n]() ~= 136 then return 'a neighbour was changed' end\n"
           "end\n"
           "return 'well'");
}

/* The same, but into a state of its own each time: what is wanted only once. */
static void refuse_afresh(const char *script)
{
    uint64_t n, refused;

    close_vm();
    for (n = 0; n < MANY; n++) {
        open_vm();
        refused = loop.counters.memory_refused;
        const char *said = run(script, n, 1);
        if (strcmp(said, "well") != 0 && !strstr(said, "not enough memory"))
            unit_check(0, said, __FILE__, __LINE__);
        if (loop.counters.memory_refused == refused)
            break;
        close_vm();
    }
    CHECK(n > 0 && n < MANY);
}

static void ffi_loads_whole_or_not_at_all(void)
{
    refuse_afresh("local ffi = require 'ffi'\n"
                  "local pair = ffi.typeof('struct { int a; double b[4]; }')\n"
                  "local p = ffi.gc(pair(1, { 2, 3 }), function() end)\n"
                  "package.loaded.ffi = nil\n"
                  "assert(ffi == require 'ffi')\n"
                  "assert(tostring(ffi.typeof(p)) .. ffi.string(ffi.new('char[?]', 40), 40))\n"
                  "return 'well'");
}

/* A trace ends at getenv, which is not compiled, and has so many variables to note there that its
 * room for notes has to grow. */
static void compilers_are_refused_nothing(void)
{
    refuse_afresh("local names, values = {}, {}\n"
                  "for i = 1, 100 do names[i], values[i] = 'v' .. i, 'x + ' .. i end\n"
                  "local look = assert(loadstring('local x, name = ...\\nlocal ' ..\n"
                  "  table.concat(names, ',') .. ' = ' .. table.concat(values, ',') ..\n"
                  "  '\\nlocal home = os.getenv(name)\\nreturn home, ' ..\n"
                  "  table.concat(names, '+')))\n"
                  "local home, sum = os.getenv('HOME'), 5050\n"
                  "for i = 1, 200 do\n"
                  "  local at, n = look(i, 'HOME')\n"
                  "  if n ~= 100 * i + sum or at ~= home then return 'a frame was moved' end\n"
                  "end\n"
                  "return 'well'");
}

/* What else asks: the stack, tables, text, traces, the parser. */
static void nothing_is_lost(void)
{
    refuse("local kept = {}\n"
           "local function try(f, ...) pcall(f, ...) end\n"
           "try(function()\n"
           "  local function down(n) return n == 0 and 0 or 1 + down(n - 1) end\n"
           "  kept[1] = coroutine.wrap(function() down(150) coroutine.yield(1) end)()\n"
           "  local many = {}\n"
           "  for i = 1, 150 do many[i] = i end\n"
           "  coroutine.resume(coroutine.create(function(...) return ... end), unpack(many))\n"
           "end)\n"
           "try(function() local l for i = 1, 150 do l = { l, i } end kept[2] = l end)\n"
           "try(function() for i = 1, 100 do kept['k' .. i] = { [i] = i } end end)\n"
           "try(function() kept[3] = ('o'):rep(300):gsub('o', '%0%0'):upper() end)\n"
           "try(function() kept[4] = ('%5.2f %q'):format(1.5, ('\\n'):rep(50)) end)\n"
           "try(function() xpcall(function() error {} end, debug.traceback) end)\n"
           "try(function() kept[5] = loadstring('local a = 1; return { a = a, function() a = 2 end "
           "}') end)\n"
           "local buffer = require 'string.buffer'\n"
           "try(function()\n"
           "  local b = buffer.new():put(('q'):rep(3000), 1):set(('u'):rep(3000)):put('x')\n"
           "  kept[6] = b:get(7) .. tostring(b)\n"
           "  kept[7] = buffer.decode(buffer.encode { 1, { a = { b = 'c' } } })\n"
           "end)\n"
           "try(function() for i = 1, 5 do getmetatable(newproxy(true)).__gc = try end end)\n"
           "return 'well'");
}

enum { HELD = 1000 };

static int held[HELD + 1];

/* hold(i): i, in the registry. */
static int hold(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, 1);

    held[i] = rl_vm_ref(L);
    return 0;
}

/* Nothing is refused to the registry: half grown, it would have lost what is in there. */
static void what_the_core_holds_is_held(void)
{
    lua_register(vm.L, "hold", hold);
    const char *said =
        run("jit.off() for i = 1, 1000 do hold(i) end jit.on() return 'well'", 0, MANY);
    CHECK(strcmp(said, "well") == 0);
    for (int i = 1; i <= HELD; i++) {
        lua_rawgeti(vm.L, LUA_REGISTRYINDEX, held[i]);
        CHECK_INT(lua_tointeger(vm.L, -1), i);
        lua_pop(vm.L, 1);
    }
}

int main(void)
{
    alarm(120);
    CHECK_INT(rl_loop_init(&loop), 0);
    open_vm();
    closures_come_with_their_variables();
    dumped_functions_come_with_their_variables();
    message_harms_no_frame();
    message_harms_no_variable();
    message_knows_the_frame_of_compiled_code();
    message_stays_in_its_stack();
    compilers_are_refused_nothing();
    ffi_loads_whole_or_not_at_all();
    nothing_is_lost();
    what_the_core_holds_is_held();
    close_vm();
    rl_loop_fini(&loop);
    return unit_done();
}
