#include "proto/proxy.h"

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum {
    V1_MAX = 107, /* bytes of the longest line, its end included (section 2.1) */
    V2_HEAD = 16,
    TLV_HEAD = 3,
    TLV_CRC32C = 0x03,
};

static int broken(rl_err *err, const char *why)
{
    return rl_err_set(err, RL_EPROTO, "bad PROXY header: %s", why);
}

/* Could `in` go on to become something that starts with `whole`? */
static bool agrees(rl_str in, rl_str whole)
{
    return memcmp(in.p, whole.p, in.n < whole.n ? in.n : whole.n) == 0;
}

/* Version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" */

static bool parse_v1_port(rl_str s, uint16_t *port)
{
    uint64_t n;

    if ((s.n > 1 && s.p[0] == '0') || !rl_str_to_u64(s, 65535, &n))
        return false;
    *port = (uint16_t)n;
    return true;
}

/* The family is what was announced, however the address is written. */
static bool parse_v1_address(rl_str s, bool v6, rl_address *out)
{
    bool has_colon = s.n && memchr(s.p, ':', s.n);

    return has_colon == v6 && rl_address_parse(out, s);
}

static int parse_v1_line(rl_proxy *out, rl_str line, rl_err *err)
{
    rl_str word[6], rest = line;
    size_t n = 0;

    while (n < RL_COUNT(word) && rl_str_cut(&rest, ' ', &word[n]))
        n++;
    if (n >= 2 && rl_str_eq(word[1], RL_STR("UNKNOWN"))) {
        out->local = true; /* what follows is to be ignored */
        return 0;
    }
    bool v6 = n >= 2 && rl_str_eq(word[1], RL_STR("TCP6"));
    if (!v6 && !(n >= 2 && rl_str_eq(word[1], RL_STR("TCP4"))))
        return broken(err, "the family is TCP4, TCP6 or UNKNOWN");
    if (n != RL_COUNT(word) || rest.p)
        return broken(err, "two addresses and two ports expected");
    if (!parse_v1_address(word[2], v6, &out->source) ||
        !parse_v1_address(word[3], v6, &out->destination))
        return broken(err, "that is no address of its family");
    if (!parse_v1_port(word[4], &out->source.port) ||
        !parse_v1_port(word[5], &out->destination.port))
        return broken(err, "that is no port");
    return 0;
}

static int parse_v1(rl_proxy *out, rl_str in, rl_err *err)
{
    const char *end = memchr(in.p, '\n', in.n < V1_MAX ? in.n : V1_MAX);

    if (!end)
        return in.n < V1_MAX ? 0 : broken(err, "the line does not end");
    size_t n = (size_t)(end - in.p);
    if (n == 0 || in.p[n - 1] != '\r' || memchr(in.p, '\r', n - 1))
        return broken(err, "the line ends in CR LF");
    int rc = parse_v1_line(out, (rl_str){in.p, n - 1}, err);
    return rc < 0 ? rc : (int)n + 1;
}

/* Version 2 */

static unsigned get16(const char *p)
{
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

static uint32_t get32(const char *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* CRC-32C (RFC 3720 appendix B.4), bit by bit: headers are short, and few have one. The four bytes
 * at `hole` count as zeros. */
static uint32_t crc32c(rl_str s, size_t hole)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < s.n; i++) {
        crc ^= i - hole < 4 ? 0 : (uint8_t)s.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* TLVs are skipped, but they must fill the header, and a checksum must hold. */
static int check_tlvs(rl_str header, size_t at, rl_err *err)
{
    bool summed = false;

    while (at < header.n) {
        if (header.n - at < TLV_HEAD)
            return broken(err, "a TLV is cut off");
        unsigned type = (uint8_t)header.p[at], n = get16(header.p + at + 1);
        at += TLV_HEAD;
        if (n > header.n - at)
            return broken(err, "a TLV is longer than the header");
        if (type == TLV_CRC32C) {
            if (n != 4 || summed)
                return broken(err, "a checksum is there once, in four bytes");
            if (crc32c(header, at) != get32(header.p + at))
                return broken(err, "the checksum is another");
            summed = true;
        }
        at += n;
    }
    return 0;
}

/* Addresses of a proxied connection; the bytes they take, or negative. */
static int take_v2_addresses(rl_proxy *out, unsigned family, rl_str block, rl_err *err)
{
    static const unsigned sizes[] = {0, 12, 36, 216};

    if (family >= RL_COUNT(sizes))
        return broken(err, "there is no such family of addresses");
    if (block.n < sizes[family])
        return broken(err, "the addresses are cut off");
    switch (family) {
    case 0:
        out->local = true;
        break;
    case 1:
        out->source = rl_address_of_ipv4(block.p, (uint16_t)get16(block.p + 8));
        out->destination = rl_address_of_ipv4(block.p + 4, (uint16_t)get16(block.p + 10));
        break;
    case 2:
        out->source = rl_address_of_ipv6(block.p, (uint16_t)get16(block.p + 32));
        out->destination = rl_address_of_ipv6(block.p + 16, (uint16_t)get16(block.p + 34));
        break;
    case 3:
        out->source.family = out->destination.family = RL_ADDRESS_UNKNOWN;
        break;
    }
    return (int)sizes[family];
}

static int parse_v2(rl_proxy *out, rl_str in, rl_err *err)
{
    if (in.n > 12 && (uint8_t)in.p[12] >> 4 != 2)
        return broken(err, "version 2 has a 2 in it");
    if (in.n > 12 && ((uint8_t)in.p[12] & 15) > 1)
        return broken(err, "the command is LOCAL or PROXY");
    if (in.n < V2_HEAD)
        return 0;

    bool proxied = in.p[12] & 1;
    unsigned family = (uint8_t)in.p[13] >> 4, transport = (uint8_t)in.p[13] & 15;
    size_t n = V2_HEAD + get16(in.p + 14);
    if (n > RL_PROXY_MAX)
        return rl_err_set(err, RL_ETOOBIG, "bad PROXY header: %zu bytes are too many", n);
    if (in.n < n)
        return 0;
    in.n = n;
    out->local = !proxied;
    if (proxied && (transport > 1 || (transport == 0) != (family == 0)))
        return broken(err, "only streams are proxied");
    int used = 0;
    if (proxied)
        used = take_v2_addresses(out, family, (rl_str){in.p + V2_HEAD, n - V2_HEAD}, err);
    if (used < 0)
        return used;
    /* A LOCAL header's addresses are to be skipped, whatever they are, and so is an UNSPEC's. */
    int rc = out->local ? 0 : check_tlvs(in, V2_HEAD + (size_t)used, err);
    return rc < 0 ? rc : (int)n;
}

int rl_proxy_parse(rl_proxy *out, rl_str in, rl_err *err)
{
    const rl_str v1 = RL_STR("PROXY "), v2 = {v2_signature, sizeof(v2_signature)};

    *out =
        (rl_proxy){.source.family = RL_ADDRESS_UNKNOWN, .destination.family = RL_ADDRESS_UNKNOWN};
    if (in.n == 0)
        return 0;
    if (agrees(in, v1))
        return in.n < v1.n ? 0 : parse_v1(out, in, err);
    if (agrees(in, v2))
        return in.n < v2.n ? 0 : parse_v2(out, in, err);
    return broken(err, "it does not begin like one");
}
