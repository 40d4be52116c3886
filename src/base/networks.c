#include "base/networks.h"

/* Words for several networks. */
static const struct {
    const char *name;
    const char *networks;
} families[] = {
    {"loopback", "127.0.0.0/8 ::1"},
    {"private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"},
};

void rl_networks_fini(rl_networks *set)
{
    rl_free(set->list);
    *set = (rl_networks){0};
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

static bool is_lowest(const rl_network *net)
{
    static const uint8_t zeros[16];
    uint8_t rest[16];

    memcpy(rest, net->first.bytes, sizeof(rest));
    for (unsigned bit = 0; bit < net->bits; bit++)
        rest[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    return memcmp(rest, zeros, sizeof(rest)) == 0;
}

/* "::ffff:10.0.0.0/104" is an IPv4 network, and its bits count from there. */
static bool parse_bits(rl_network *net, rl_str text, bool mapped)
{
    unsigned most = net->first.family == RL_ADDRESS_IPV4 ? 32 : 128;
    unsigned less = mapped ? 96 : 0;
    uint64_t bits;

    if (!rl_str_to_u64(text, most + less, &bits) || bits < less)
        return false;
    net->bits = (uint8_t)(bits - less);
    return true;
}

static int add_network(rl_networks *set, rl_str word, rl_err *err)
{
    rl_str bits = word, host;
    rl_network net;

    rl_str_cut(&bits, '/', &host);
    if (!rl_address_parse(&net.first, host))
        return rl_err_set(
            err, RL_ESYNTAX,
            "'%.*s' is no IP address or network (192.0.2.1, 10.0.0.0/8, 2001:db8::/32),"
            " nor loopback, private or unix",
            (int)(word.n < 60 ? word.n : 60), word.p);
    bool ipv4 = net.first.family == RL_ADDRESS_IPV4;
    net.bits = ipv4 ? 32 : 128;
    if (bits.p && !parse_bits(&net, bits, ipv4 && memchr(host.p, ':', host.n)))
        return rl_err_set(err, RL_ESYNTAX,
                          "'%.*s' is no network: a prefix of 0 to %d bits expected", (int)word.n,
                          word.p, ipv4 ? 32 : 128);
    if (!is_lowest(&net))
        return rl_err_set(err, RL_ESYNTAX,
                          "'%.*s' is no network: it has bits set behind its prefix of %u",
                          (int)word.n, word.p, net.bits);
    set->list = rl_realloc(set->list, (set->n + 1) * sizeof(*set->list));
    set->list[set->n++] = net;
    return 0;
}

static int add_word(rl_networks *set, rl_str word, rl_err *err)
{
    if (rl_str_eq(word, RL_STR("unix"))) {
        set->unix_peers = true;
        return 0;
    }
    for (size_t i = 0; i < RL_COUNT(families); i++)
        if (rl_str_eq(word, rl_str_of(families[i].name)))
            return rl_networks_add(set, rl_str_of(families[i].networks), err);
    return add_network(set, word, err);
}

static bool separates(char c)
{
    return c == ' ' || c == ',' || c == '\t' || c == '\n';
}

int rl_networks_add(rl_networks *set, rl_str words, rl_err *err)
{
    size_t from = 0;

    for (size_t i = 0; i <= words.n; i++) {
        if (i < words.n && !separates(words.p[i]))
            continue;
        if (i > from) {
            int rc = add_word(set, (rl_str){words.p + from, i - from}, err);
            if (rc < 0)
                return rc;
        }
        from = i + 1;
    }
    return 0;
}

bool rl_networks_has(const rl_networks *set, const rl_address *a)
{
    if (!rl_address_is_ip(a))
        return a->family == RL_ADDRESS_UNIX && set->unix_peers;
    for (size_t i = 0; i < set->n; i++)
        if (set->list[i].first.family == a->family &&
            same_bits(set->list[i].first.bytes, a->bytes, set->list[i].bits))
            return true;
    return false;
}
