#include "control/prompt.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#ifdef HAVE_LIBEDIT
#include <dlfcn.h>
#include <histedit.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif
#endif

enum { REMEMBERED = 1000, COLUMNS = 80 };

struct rl_prompt {
    rl_prompt_complete_fn *complete;
    void *arg;
    bool shown;
    const char *text;
    char *line; /* getline's */
    size_t room;
#ifdef HAVE_LIBEDIT
    EditLine *el; /* NULL: not a terminal */
    History *history;
    char *file; /* of the history; NULL: nowhere */
#endif
};

/* Ctrl-C */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
    interrupted = 1;
}

bool rl_prompt_interrupted(void)
{
    bool was = interrupted;

    interrupted = 0;
    return was;
}

/* Whatever waits is to return with EINTR: no SA_RESTART. */
static void hear_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigset_t mine;

    sigaction(SIGINT, &action, NULL);
    sigemptyset(&mine);
    sigaddset(&mine, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
}

#ifdef HAVE_LIBEDIT

/* libedit is loaded when somebody sits at a prompt: a server has no memory for it. */
#define LIBEDIT(X)                                                                          \
    X(el_init)                                                                              \
    X(el_end)                                                                               \
    X(el_get)                                                                               \
    X(el_gets) X(el_insertstr) X(el_line) X(el_set) X(el_source) X(history) X(history_init) \
        X(history_end)

static struct {
#define X(name) __typeof__(&name) name;
    LIBEDIT(X)
#undef X
} edit;

static bool load_libedit(void)
{
    void *library = dlopen("libedit.so.2", RTLD_LAZY | RTLD_LOCAL);

#define X(name)                                                                       \
    edit.name = library ? (__typeof__(&name))(uintptr_t)dlsym(library, #name) : NULL; \
    if (!edit.name)                                                                   \
        return false;
    LIBEDIT(X)
#undef X
    return true;
}

/* libedit's own would go on reading after a signal. */
static int read_char(EditLine *el, wchar_t *out)
{
    mbstate_t state = {0};
    char c;

    for (;;) {
        ssize_t n = interrupted ? -1 : read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR && !interrupted)
            continue; /* the window's size, or back from a stop */
        if (n <= 0)
            return (int)n;
        size_t rc = mbrtowc(out, &c, 1, &state);
        if (rc == (size_t)-1)
            state = (mbstate_t){0}; /* no character: left out */
        else if (rc != (size_t)-2)
            return 1;
    }
}

static char *prompt_text(EditLine *el)
{
    rl_prompt *p;

    edit.el_get(el, EL_CLIENTDATA, &p);
    return (char *)(uintptr_t)p->text;
}

static rl_str next_word(rl_str *words)
{
    rl_str word;

    rl_str_cut(words, '\n', &word);
    return word;
}

/* How far all of them agree. */
static size_t common(rl_str words)
{
    rl_str first = next_word(&words);
    size_t n = first.n;

    while (words.p && words.n) {
        rl_str word = next_word(&words);
        size_t i = 0;
        while (i < n && i < word.n && word.p[i] == first.p[i])
            i++;
        n = i;
    }
    return n;
}

static void list_words(rl_str words)
{
    size_t column = 0;

    putchar('\n');
    while (words.p && words.n) {
        rl_str word = next_word(&words);
        if (column && column + word.n + 2 > COLUMNS) {
            putchar('\n');
            column = 0;
        }
        printf("%.*s  ", (int)word.n, word.p);
        column += word.n + 2;
    }
    putchar('\n');
    fflush(stdout);
}

static bool is_in_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static unsigned char on_tab(EditLine *el, int key)
{
    const LineInfo *line = edit.el_line(el);
    rl_str before = {line->buffer, (size_t)(line->cursor - line->buffer)};
    size_t typed = 0;
    rl_buf words = {0};
    unsigned char outcome = CC_ERROR;
    rl_prompt *p;

    edit.el_get(el, EL_CLIENTDATA, &p);
    while (typed < before.n && is_in_word(before.p[before.n - 1 - typed]))
        typed++;
    p->complete(p->arg, before, &words);
    size_t n = words.len ? common(rl_buf_str(&words)) : 0;
    if (n > typed) {
        char *rest = rl_strndup(words.data + typed, n - typed);
        edit.el_insertstr(el, rest);
        rl_free(rest);
        outcome = CC_REFRESH;
    } else if (words.len) {
        list_words(rl_buf_str(&words));
        outcome = CC_REDISPLAY;
    }
    rl_buf_fini(&words);
    return outcome;
}

/* NULL: nowhere. */
static char *history_file(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *file;

    if (state && state[0] == '/')
        file = rl_sprintf("%s/rille/history", state);
    else if (home && home[0] == '/')
        file = rl_sprintf("%s/.local/state/rille/history", home);
    else
        return NULL;
    for (char *slash = strchr(file + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(file, 0700);
        *slash = '/';
    }
    return file;
}

/* libedit never frees the names of functions: no leak of ours. */
static void add_function(EditLine *el, const char *name, const char *help,
                         unsigned char (*fn)(EditLine *el, int key))
{
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
    edit.el_set(el, EL_ADDFN, name, help, fn);
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
}

static void open_editor(rl_prompt *p)
{
    HistEvent event;

    if (!load_libedit())
        return;
    setlocale(LC_CTYPE, "");
    p->el = edit.el_init("rille", stdin, stdout, stderr);
    if (!p->el)
        return;
    p->history = edit.history_init();
    p->file = history_file();
    edit.history(p->history, &event, H_SETSIZE, REMEMBERED);
    edit.history(p->history, &event, H_SETUNIQUE, 1);
    if (p->file)
        edit.history(p->history, &event, H_LOAD, p->file);
    edit.el_set(p->el, EL_CLIENTDATA, p);
    edit.el_set(p->el, EL_EDITOR, "emacs");
    edit.el_set(p->el, EL_PROMPT, prompt_text);
    edit.el_set(p->el, EL_GETCFN, read_char);
    edit.el_set(p->el, EL_HIST, edit.history, p->history);
    add_function(p->el, "rille-complete", "complete a name", on_tab);
    edit.el_set(p->el, EL_BIND, "^I", "rille-complete", NULL);
    edit.el_set(p->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    edit.el_source(p->el, NULL); /* ~/.editrc */
}

static void close_editor(rl_prompt *p)
{
    HistEvent event;

    if (!p->el)
        return;
    if (p->file) {
        mode_t mask = umask(077);
        edit.history(p->history, &event, H_SAVE, p->file);
        umask(mask);
    }
    edit.history_end(p->history);
    edit.el_end(p->el);
    rl_free(p->file);
}

static rl_prompt_event edit_line(rl_prompt *p, rl_buf *line)
{
    HistEvent event;
    int n = 0;

    /* el_gets() would show the prompt before that, and a Ctrl-D in between be nobody's. */
    edit.el_set(p->el, EL_PREP_TERM, 1);
    const char *text = edit.el_gets(p->el, &n);

    if (!text && rl_prompt_interrupted()) {
        puts("^C");
        return RL_PROMPT_GIVEN_UP;
    }
    if (!text || n <= 0) {
        putchar('\n');
        return RL_PROMPT_END;
    }
    if (strspn(text, " \t\n") < (size_t)n)
        edit.history(p->history, &event, H_ENTER, text);
    rl_buf_add(line, text, (size_t)n - (text[n - 1] == '\n'));
    return RL_PROMPT_LINE;
}

#endif

static rl_prompt_event read_line(rl_prompt *p, rl_buf *line)
{
    if (p->shown) {
        fputs(p->text, stdout);
        fflush(stdout);
    }
    ssize_t n = getline(&p->line, &p->room, stdin);
    if (n < 0 && rl_prompt_interrupted()) {
        clearerr(stdin);
        if (p->shown)
            putchar('\n');
        return p->shown ? RL_PROMPT_GIVEN_UP : RL_PROMPT_END;
    }
    if (n < 0)
        return RL_PROMPT_END;
    rl_buf_add(line, p->line, (size_t)n - (n && p->line[n - 1] == '\n'));
    return RL_PROMPT_LINE;
}

bool rl_prompt_is_shown(const rl_prompt *p)
{
    return p->shown;
}

rl_prompt_event rl_prompt_read(rl_prompt *p, const char *prompt, rl_buf *line)
{
    rl_buf_clear(line);
    interrupted = 0; /* that was for what ran */
    p->text = prompt;
#ifdef HAVE_LIBEDIT
    if (p->el)
        return edit_line(p, line);
#endif
    return read_line(p, line);
}

rl_prompt *rl_prompt_open(rl_prompt_complete_fn *complete, void *arg)
{
    rl_prompt *p = rl_calloc(1, sizeof(*p));

    p->complete = complete;
    p->arg = arg;
    p->shown = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    hear_interrupts();
#ifdef HAVE_LIBEDIT
    if (p->shown)
        open_editor(p);
#endif
    return p;
}

void rl_prompt_close(rl_prompt *p)
{
#ifdef HAVE_LIBEDIT
    close_editor(p);
#endif
    free(p->line);
    rl_free(p);
}
