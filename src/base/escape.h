/* escape.h - text of unknown origin, so that it can be shown or parsed without harm. */
#ifndef RL_BASE_ESCAPE_H
#define RL_BASE_ESCAPE_H

#include "base/buf.h"

/* As a JSON string, quotes included. What is not UTF-8 becomes U+FFFD. */
void rl_escape_json(rl_buf *out, rl_str s);

/* For a line of a log: control characters (C1's, too) and what is not UTF-8 as \x1b; tabs stay.
 * A newline becomes one with two spaces behind it. */
void rl_escape_line(rl_buf *out, rl_str s);

/* As a value in key=value: as it is, or in quotes when it is empty or holds a space, a quote, an
 * equals sign or anything to be escaped; then with \" \\ \n \t and \x1b. */
void rl_escape_value(rl_buf *out, rl_str s);

/* As a label's value in exposition.h, without its quotes. What is not UTF-8 becomes U+FFFD. */
void rl_escape_label(rl_buf *out, rl_str s);

#endif
