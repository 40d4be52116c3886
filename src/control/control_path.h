/* control_path.h - where the control socket of a process is, and how others find it.
 *
 *     FOLDER/NAME-HASH.PID.sock
 *
 * The folder is the user's own, and nobody else's to enter: $XDG_RUNTIME_DIR/rille, /run/rille of
 * root, else /tmp/rille-UID. NAME and HASH are of the application's path, so that `rille reload
 * APP` needs no more than that; with the PID in it several processes of one application are no
 * trouble. A file whose process was killed goes when another one starts, or somebody looks. One
 * that is elsewhere, because somebody wanted it there, has a link here. */
#ifndef RL_CONTROL_CONTROL_PATH_H
#define RL_CONTROL_CONTROL_PATH_H

#include "base/err.h"

/* Where this process, which serves app, is to have it; makes the folder. Yours. */
int rl_control_path(char **out, const char *app, rl_err *err) RL_MUST_USE;

/* Likewise for one that is at path, which may have options behind it: a link to it. NULL, if there
 * can be none: then only its path leads there. Yours; remove it with the socket. */
char *rl_control_link(const char *path, const char *app);

/* A connection to the process that path names (options behind it are of no account), or, without
 * one, to the only one that serves app, or that there is at all (app is NULL). The descriptor, or a
 * negative code and a sentence. */
int rl_control_dial(const char *path, const char *app, rl_err *err) RL_MUST_USE;

#endif
