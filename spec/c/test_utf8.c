/* UTF-8, by RFC 3629: what is text and what is not, however it is cut. */
#include "unit.h"

#include "proto/utf8.h"

/* One answer for the whole, for every cut in two, and byte by byte. */
static void check(rl_str s, bool want, const char *what, int line)
{
    unit_check(rl_utf8_valid(s) == want, what, __FILE__, line);
    for (size_t cut = 0; cut <= s.n; cut++) {
        rl_utf8 u = {0};
        bool got = rl_utf8_feed(&u, s.p, cut) && rl_utf8_feed(&u, s.p + cut, s.n - cut);
        unit_check((got && rl_utf8_complete(&u)) == want, what, __FILE__, line);
    }
    rl_utf8 u = {0};
    bool got = true;
    for (size_t i = 0; got && i < s.n; i++)
        got = rl_utf8_feed(&u, s.p + i, 1);
    unit_check((got && rl_utf8_complete(&u)) == want, what, __FILE__, line);
}

#define YES(s) check(RL_STR(s), true, #s " is UTF-8", __LINE__)
#define NO(s)  check(RL_STR(s), false, #s " is not UTF-8", __LINE__)

static void accepts_what_rfc_3629_shows(void)
{
    YES("");
    YES("A\xE2\x89\xA2\xCE\x91\x2E"); /* section 7 */
    YES("\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4");
    YES("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E");
    YES("\xEF\xBB\xBF\xF0\xA3\x8E\xB4");
    YES("a NUL is a character: \x00.");
}

static void knows_the_edges_of_each_length(void)
{
    YES("\x7f");
    YES("\xc2\x80");
    YES("\xdf\xbf");
    YES("\xe0\xa0\x80");
    YES("\xed\x9f\xbf");
    YES("\xee\x80\x80");
    YES("\xef\xbf\xbf");
    YES("\xf0\x90\x80\x80");
    YES("\xf4\x8f\xbf\xbf");
}

static void refuses_what_is_not_shortest(void)
{
    NO("\xc0\x80");
    NO("\xc1\xbf");
    NO("\xe0\x80\x80");
    NO("\xe0\x9f\xbf");
    NO("\xf0\x80\x80\x80");
    NO("\xf0\x8f\xbf\xbf");
}

static void refuses_surrogates_and_beyond(void)
{
    NO("\xed\xa0\x80");
    NO("\xed\xbf\xbf");
    NO("\xed\xa1\x8c\xed\xbe\xb4");
    NO("\xf4\x90\x80\x80");
    NO("\xf5\x80\x80\x80");
    NO("\xf8\x88\x80\x80\x80");
    NO("\xfe");
    NO("\xff");
}

static void refuses_pieces_of_characters(void)
{
    NO("\x80");
    NO("a\xbf");
    NO("\xc3");
    NO("\xc3(");
    NO("\xe2\x82");
    NO("\xe2\x28\xa1");
    NO("\xf0\x9f\x98");
    NO("\xf0\x9f\x98z");
    NO("\xc3\xa9\xa9");
}

/* The ASCII path looks at sixteen bytes at a time: a wrong one must not hide among them. */
static void finds_one_wrong_byte_anywhere(void)
{
    char text[80];

    for (size_t i = 0; i < sizeof(text); i++) {
        memset(text, 'a', sizeof(text));
        CHECK(rl_utf8_valid((rl_str){text, sizeof(text)}));
        text[i] = (char)0x80;
        CHECK(!rl_utf8_valid((rl_str){text, sizeof(text)}));
    }
}

static void refuses_at_the_first_wrong_byte(void)
{
    rl_utf8 u = {0};

    CHECK(rl_utf8_feed(&u, "\xed", 1) && !rl_utf8_complete(&u));
    CHECK(!rl_utf8_feed(&u, "\xa0", 1));
}

/* Every code point, encoded by the definition, against the validator. */
static void agrees_with_the_definition(void)
{
    size_t wrong = 0;

    for (uint32_t c = 0x80; c < 0x120000; c++) {
        char s[4];
        size_t n = 0;
        if (c < 0x800)
            s[n++] = (char)(0xc0 | c >> 6);
        else if (c < 0x10000)
            s[n++] = (char)(0xe0 | c >> 12), s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        else
            s[n++] = (char)(0xf0 | c >> 18), s[n++] = (char)(0x80 | (c >> 12 & 0x3f)),
            s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
        bool want = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
        wrong += rl_utf8_valid((rl_str){s, n}) != want;
    }
    CHECK_INT(wrong, 0);
}

int main(void)
{
    accepts_what_rfc_3629_shows();
    knows_the_edges_of_each_length();
    refuses_what_is_not_shortest();
    refuses_surrogates_and_beyond();
    refuses_pieces_of_characters();
    finds_one_wrong_byte_anywhere();
    refuses_at_the_first_wrong_byte();
    agrees_with_the_definition();
    return unit_done();
}
