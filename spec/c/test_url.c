/* Targets, paths and forms. */
#include "unit.h"

#include "proto/url.h"

#define CHECK_STR(got, want) CHECK_MEM((got).p ? (got).p : "(null)", (got).n, want)

static void cuts_a_target(void)
{
    rl_url url;

    CHECK_INT(rl_url_split(&url, RL_STR("/a%20b/c?x=1?&y"), NULL), 0);
    CHECK(url.authority.p == NULL);
    CHECK_STR(url.path, "/a%20b/c");
    CHECK_STR(url.query, "x=1?&y");

    CHECK_INT(rl_url_split(&url, RL_STR("/"), NULL), 0);
    CHECK_STR(url.path, "/");
    CHECK(url.query.p == NULL);

    CHECK_INT(rl_url_split(&url, RL_STR("/?"), NULL), 0);
    CHECK(url.query.p && url.query.n == 0);

    CHECK_INT(rl_url_split(&url, RL_STR("//double//"), NULL), 0);
    CHECK_STR(url.path, "//double//");

    CHECK_INT(rl_url_split(&url, RL_STR("*"), NULL), 0);
    CHECK_STR(url.path, "*");
}

static void cuts_a_whole_url(void)
{
    rl_url url;

    CHECK_INT(rl_url_split(&url, RL_STR("http://example.org:80/a?b"), NULL), 0);
    CHECK_STR(url.authority, "example.org:80");
    CHECK_STR(url.path, "/a");
    CHECK_STR(url.query, "b");
    CHECK_INT(rl_url_split(&url, RL_STR("HTTPS://[::1]?b"), NULL), 0);
    CHECK_STR(url.authority, "[::1]");
    CHECK_STR(url.path, "/");
    CHECK_STR(url.query, "b");
}

static void refuses_other_targets(void)
{
    static const char *const bad[] = {
        "",
        "a",
        "a:80",
        "**",
        "?a",
        "#",
        "/#a",
        "/a?b#c",
        "ftp://a/",
        "http:/a",
        "http://",
        "http:///a",
        "http://user@a/",
        "http://a b/",
        "http://[::1/",
        "http://a:b/",
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        rl_url url;
        rl_err err = {0};
        unit_check(rl_url_split(&url, rl_str_of(bad[i]), &err) == RL_ESYNTAX && err.msg[0], bad[i],
                   __FILE__, __LINE__);
    }
}

static void knows_a_host(void)
{
    CHECK(rl_url_authority_valid(RL_STR("localhost")));
    CHECK(rl_url_authority_valid(RL_STR("127.0.0.1:65535")));
    CHECK(rl_url_authority_valid(RL_STR("[2001:db8::1]:80")));
    CHECK(rl_url_authority_valid(RL_STR("a:"))); /* RFC 3986 allows an empty port */
    CHECK(!rl_url_authority_valid(RL_STR("")));
    CHECK(!rl_url_authority_valid(RL_STR(":80")));
    CHECK(!rl_url_authority_valid(RL_STR("a:1:2")));
    CHECK(!rl_url_authority_valid(RL_STR("a:123456")));
    CHECK(!rl_url_authority_valid(RL_STR("[]")));
    CHECK(!rl_url_authority_valid(RL_STR("[::1]80")));
    CHECK(!rl_url_authority_valid(RL_STR("[g::]")));
    CHECK(!rl_url_authority_valid(RL_STR("a/b")));
    CHECK(!rl_url_authority_valid(RL_STR("a@b")));
    CHECK(!rl_url_authority_valid(RL_STR("a,b")));
    CHECK(!rl_url_authority_valid((rl_str){"a\0b", 3}));
}

static void decodes_a_path(void)
{
    rl_buf out = {0};

    CHECK_INT(rl_url_decode_path(&out, RL_STR(""), NULL), 0);
    CHECK_INT(out.len, 0);
    CHECK_INT(rl_url_decode_path(&out, RL_STR("/caf%C3%a9/a+b%2F"), NULL), 0);
    CHECK_STR(rl_buf_str(&out), "/caf\xc3\xa9/a+b/");
    CHECK_INT(rl_url_decode_path(&out, RL_STR("%25"), NULL), 0);
    CHECK_STR(rl_buf_str(&out), "/caf\xc3\xa9/a+b/%"); /* appended */
    rl_buf_fini(&out);
}

static void refuses_a_path_it_cannot_decode(void)
{
    static const struct {
        rl_str raw;
        int code;
    } bad[] = {
        {{"/%", 2}, RL_ESYNTAX},        {{"/%4", 3}, RL_ESYNTAX},   {{"/%4g", 4}, RL_ESYNTAX},
        {{"/%g4", 4}, RL_ESYNTAX},      {{"/%%41", 5}, RL_ESYNTAX}, {{"/%00", 4}, RL_ESYNTAX},
        {{"/\0", 2}, RL_ESYNTAX},       {{"/%ff", 4}, RL_EUTF8},    {{"/%c3", 4}, RL_EUTF8},
        {{"/%ed%a0%80", 10}, RL_EUTF8}, {{"/%c0%af", 7}, RL_EUTF8},
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        rl_buf out = {0};
        rl_err err = {0};
        rl_buf_add(&out, "before", 6);
        unit_check(rl_url_decode_path(&out, bad[i].raw, &err) == bad[i].code &&
                       err.code == bad[i].code,
                   bad[i].raw.p, __FILE__, __LINE__);
        CHECK_STR(rl_buf_str(&out), "before");
        rl_buf_fini(&out);
    }
}

static void walks_a_form(void)
{
    rl_str rest = RL_STR("a=1&&b=x+y%3D&c&=d&e=f=g&"), key, value;
    static const char *const want[][2] = {
        {"a", "1"}, {"b", "x y="}, {"c", ""}, {"", "d"}, {"e", "f=g"}};
    rl_buf scratch = {0};

    for (size_t i = 0; i < RL_COUNT(want); i++) {
        CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), 1);
        CHECK_STR(key, want[i][0]);
        CHECK_STR(value, want[i][1]);
    }
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), 0);
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), 0);

    rest = (rl_str){NULL, 0}; /* a target without a query */
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), 0);
    rl_buf_fini(&scratch);
}

static void goes_on_behind_a_pair_it_cannot_decode(void)
{
    rl_str rest = RL_STR("a=%zz&%ff=1&b=100%&ok=yes"), key, value;
    rl_buf scratch = {0};

    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), RL_ESYNTAX);
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), RL_EUTF8);
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), RL_ESYNTAX);
    CHECK_INT(rl_url_form_next(&rest, &scratch, &key, &value, NULL), 1);
    CHECK_STR(key, "ok");
    CHECK_STR(value, "yes");
    rl_buf_fini(&scratch);
}

int main(void)
{
    cuts_a_target();
    cuts_a_whole_url();
    refuses_other_targets();
    knows_a_host();
    decodes_a_path();
    refuses_a_path_it_cannot_decode();
    walks_a_form();
    goes_on_behind_a_pair_it_cannot_decode();
    return unit_done();
}
