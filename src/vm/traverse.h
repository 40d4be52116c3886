/* traverse.h - pairs() and next() where LuaJIT would crash in them.
 *
 * LuaJIT has compiled loops over pairs() since September 2021 (its bb0f2410). Up to April 2022
 * (5e3c45c4), and Debian 12's libluajit-5.1 is of March, such code may exchange but half of two
 * registers, one with a pointer, and the process ends. There both are functions of C instead,
 * which nothing compiles: a loop takes longer, and is right. OpenResty's LuaJIT
 * (libluajit2-5.1) and the present one keep their own; meson.build asks which it is. */
#ifndef RL_VM_TRAVERSE_H
#define RL_VM_TRAVERSE_H

#include <lua.h>

/* The libraries are open. Does nothing where nothing is wrong. */
void rl_traverse_open(lua_State *L);

#endif
