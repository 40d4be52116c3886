/* digest.h - the SHA-256 of some bytes, as text. */
#ifndef RL_PROTO_DIGEST_H
#define RL_PROTO_DIGEST_H

#include "base/str.h"

#define RL_DIGEST_SIZE 65 /* of the text, with its end */

void rl_digest(rl_str bytes, char out[RL_DIGEST_SIZE]);

#endif
