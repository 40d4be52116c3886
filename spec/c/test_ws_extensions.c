/* Sec-WebSocket-Extensions, by RFC 6455 section 9.1 and RFC 7692 section 7.1.
 */
#include "unit.h"

#include "proto/ws_extensions.h"

static rl_http_head head_of(const char *value, const char *second)
{
    rl_http_head head = {.minor = 1};
    const char *values[] = {value, second};

    for (size_t i = 0; i < RL_COUNT(values) && values[i]; i++) {
        rl_http_put_field(&head);
        rl_http_put_name(&head, RL_STR("Sec-WebSocket-Extensions"));
        rl_http_put_value(&head, rl_str_of(values[i]));
        rl_http_put_end(&head);
    }
    return head;
}

static void expect(const rl_deflate_settings *settings, const char *first, const char *second,
                   const char *want, int line)
{
    rl_http_head head = head_of(first, second);
    rl_buf got = {0};
    rl_deflate_terms terms;

    bool valid = rl_ws_extensions_valid(&head);
    bool agreed = rl_ws_extensions_agree(&head, settings, &terms, &got);
    if (!valid) {
        rl_buf_fini(&got);
        rl_buf_printf(&got, "malformed");
    } else if (agreed) {
        static const char prefix[] = "sec-websocket-extensions: permessage-deflate";
        unit_check(rl_str_starts(rl_buf_str(&got), rl_str_of(prefix)), "names it", __FILE__, line);
        unit_check(memcmp(got.data + got.len - 2, "\r\n", 2) == 0, "is a line", __FILE__, line);
        got.len -= 2;
        rl_buf_consume(&got, sizeof(prefix) - 1);
        rl_buf_printf(&got, " (%d%s %d%s)", terms.bits, terms.takeover ? " kept" : "",
                      terms.peer_bits, terms.peer_takeover ? " kept" : "");
    } else {
        rl_buf_printf(&got, "none");
    }
    unit_check_mem(got.data, got.len, want, strlen(want), first ? first : "(no header)", __FILE__,
                   line);
    rl_buf_fini(&got);
    rl_http_head_fini(&head);
}

static const rl_deflate_settings NOTHING_KEPT;
static const rl_deflate_settings ALL_KEPT = {.takeover = true, .peer_takeover = true};
static const rl_deflate_settings SMALL = {
    .takeover = true, .peer_takeover = true, .bits = 11, .peer_bits = 12};

#define NO_CONTEXT                     "; server_no_context_takeover; client_no_context_takeover"
#define EXPECT(settings, header, want) expect(&(settings), header, NULL, want, __LINE__)
#define PMD                            "permessage-deflate"

static void agrees_to_what_is_offered(void)
{
    EXPECT(NOTHING_KEPT, NULL, "none");
    EXPECT(NOTHING_KEPT, PMD, NO_CONTEXT " (15 15)");
    EXPECT(NOTHING_KEPT, "PerMessage-Deflate; Client_Max_Window_Bits", NO_CONTEXT " (15 15)");
    EXPECT(ALL_KEPT, PMD, " (15 kept 15 kept)");
    EXPECT(ALL_KEPT, PMD "; server_no_context_takeover",
           "; server_no_context_takeover (15 15 kept)");
    EXPECT(ALL_KEPT, PMD "; client_no_context_takeover",
           "; client_no_context_takeover (15 kept 15)");
    EXPECT(ALL_KEPT, PMD ";server_max_window_bits=15",
           "; server_max_window_bits=15 (15 kept 15 kept)");
    EXPECT(ALL_KEPT, PMD ";server_max_window_bits=9",
           "; server_max_window_bits=9 (9 kept 15 kept)");
    EXPECT(ALL_KEPT, PMD "; client_max_window_bits", " (15 kept 15 kept)");
    EXPECT(ALL_KEPT, PMD "; client_max_window_bits=15", " (15 kept 15 kept)");
    EXPECT(ALL_KEPT, PMD "; client_max_window_bits=8",
           "; client_max_window_bits=8 (15 kept 8 kept)");
}

static void keeps_to_windows_of_its_own(void)
{
    EXPECT(SMALL, PMD, "; client_no_context_takeover; server_max_window_bits=11 (11 kept 15)");
    EXPECT(SMALL, PMD "; client_max_window_bits",
           "; server_max_window_bits=11; client_max_window_bits=12 (11 kept 12 "
           "kept)");
    EXPECT(SMALL, PMD "; client_max_window_bits=10; server_max_window_bits=10",
           "; server_max_window_bits=10; client_max_window_bits=10 (10 kept 10 "
           "kept)");
}

static void passes_over_what_cannot_be_had(void)
{
    static const char *const bad[] = {
        "permessage-bzip2",
        PMD "; what",
        PMD "; server_max_window_bits",
        PMD "; server_max_window_bits=8", /* zlib cannot */
        PMD "; server_max_window_bits=7",
        PMD "; server_max_window_bits=16",
        PMD "; server_max_window_bits=010",
        PMD "; server_max_window_bits=1010",
        PMD "; server_max_window_bits=09",
        PMD "; server_max_window_bits=-9",
        PMD "; server_max_window_bits=10; server_max_window_bits=10",
        PMD "; client_max_window_bits=7",
        PMD "; client_max_window_bits=0",
        PMD "; client_max_window_bits; client_max_window_bits",
        PMD "; client_max_window_bits; client_max_window_bits=10",
        PMD "; client_max_window_bits=10; client_max_window_bits",
        PMD "; server_no_context_takeover=1",
        PMD "; client_no_context_takeover=true",
        PMD "; client_no_context_takeover; client_no_context_takeover",
        PMD "; server_no_context_takeover; server_no_context_takeover",
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        EXPECT(ALL_KEPT, bad[i], "none");
        expect(&ALL_KEPT, bad[i], PMD "; client_max_window_bits=9",
               "; client_max_window_bits=9 (15 kept 9 kept)", __LINE__);
    }
    EXPECT(ALL_KEPT, "x-other; a=\"b\", " PMD "; oops, , " PMD "; server_max_window_bits=12, " PMD,
           "; server_max_window_bits=12 (12 kept 15 kept)");
    rl_deflate_settings off = {.off = true};
    EXPECT(off, PMD, "none");
}

static void reads_the_grammar(void)
{
    static const char *const lists[] = {
        "", ",", " , ,\t", "a", "a,b ;c", "a;b=c;d = \"e\" ; f", "a; b=\"\\c\\d\"", ",a,,b,",
    };
    static const char *const others[] = {
        "a b",        "a;",           "a; ,b",       "a; b=",         "a; b=\"\"",   "a; b=\"c",
        "a; b=\"c\\", "a; b=\"c d\"", "a; b=\"c\"d", "a; =b",         "=",           "a; b=c d",
        "\"a\"",      "a; \"b\"",     "a; b;;c",     "a; b=\"\\\"\"", "a; b='\x80'", "a@b",
    };

    for (size_t i = 0; i < RL_COUNT(lists); i++)
        EXPECT(NOTHING_KEPT, lists[i], "none");
    for (size_t i = 0; i < RL_COUNT(others); i++) {
        EXPECT(NOTHING_KEPT, others[i], "malformed");
        expect(&NOTHING_KEPT, PMD, others[i], "malformed", __LINE__);
    }
    EXPECT(ALL_KEPT, PMD "; server_max_window_bits=\"1\\0\"; client_max_window_bits=\"9\"",
           "; server_max_window_bits=10; client_max_window_bits=9 (10 kept 9 kept)");
}

int main(void)
{
    agrees_to_what_is_offered();
    keeps_to_windows_of_its_own();
    passes_over_what_cannot_be_had();
    reads_the_grammar();
    return unit_done();
}
