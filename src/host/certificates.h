/* certificates.h - which certificates the program serves with: asked for, read, and read again.
 *
 * A flag's word counts more than the environment's, and that more than the script's; certificates
 * and keys are one word in this. What the script wants comes in the words of the command line. */
#ifndef RL_HOST_CERTIFICATES_H
#define RL_HOST_CERTIFICATES_H

#include "io/tls.h"

/* What somebody asked for. Strings are borrowed. */
typedef struct rl_tls_wishes {
    const char *certs[RL_TLS_MAX_PAIRS], *keys[RL_TLS_MAX_PAIRS];
    unsigned ncerts, nkeys;
    const char *min_version, *client_ca, *clients;
} rl_tls_wishes;

/* "--tls-cert" and so on: is it one of ours? */
bool rl_tls_wish_is(const char *flag);
int rl_tls_wish(rl_tls_wishes *w, const char *flag, const char *value, rl_err *err) RL_MUST_USE;
void rl_tls_wish_environment(rl_tls_wishes *w); /* where nothing was asked for yet */

/* What a script says: flag, value, flag, value… */
typedef struct rl_words {
    char **list;
    size_t n;
} rl_words;

typedef struct rl_certificates {
    rl_tls *tls;
    const rl_tls_wishes *asked; /* by flags and the environment */
    rl_words script, staged;    /* staged: of one that may serve soon */
} rl_certificates;

/* Reads them; the words are copied. One sentence on failure. */
int rl_certificates_open(rl_certificates *cs, const rl_tls_wishes *asked, char *const *words,
                         size_t nwords, rl_err *err) RL_MUST_USE;
/* What a script says that is being loaded again; copied. */
void rl_certificates_stage(rl_certificates *cs, char *const *words, size_t nwords);
/* Read them again, with the staged words or those before. What goes wrong is logged, and the old
 * ones serve on. Does nothing if they were never opened. */
void rl_certificates_reload(rl_certificates *cs, bool staged);
void rl_certificates_close(rl_certificates *cs); /* when no connection is left */

#endif
