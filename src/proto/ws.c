#include "proto/ws.h"

/* One frame at a time, in two ways.
 *
 * Most frames lie whole in what was read and are a message by themselves. They are
 * unmasked in place, 16 bytes at a step; the same pass gathers the high bits, so that
 * ASCII text needs no second one; and they leave as a slice. Nothing in rl_ws changes.
 *
 * Any other payload is unmasked as it comes and copied behind `part`. A control frame
 * may come between the fragments of a message (RFC 6455 section 5.4), so its bytes wait
 * at the end of part, `control` of them, and are cut off again when it is complete.
 *
 * Text is refused at its first wrong byte, and a frame at the first byte of its head
 * that tells: a peer gains nothing by sending slowly. Both ways therefore come to the
 * same events however the stream is cut, and the tests hold them to that.
 *
 * A compressed message (RSV1 on its first frame, where that was agreed) takes the same two
 * ways and is inflated when it is whole: until then part holds it as it came. So its text
 * is judged at its end.
 */

typedef struct frame {
    uint64_t length;
    size_t head; /* bytes of the head itself; 0: not all there */
    const uint8_t *mask;
    uint8_t opcode;
    bool fin;
} frame;

enum { DEFLATED = 0x40 }; /* beside the opcode of a message that is compressed */

typedef uint64_t lane __attribute__((vector_size(16)));

static bool is_control(uint8_t opcode)
{
    return opcode & 0x8;
}

/* XOR p[0..n) with the mask; true if all of it came out as ASCII. */
static bool unmask(char *p, size_t n, const uint8_t mask[4])
{
    uint32_t mask32;
    uint64_t word, high = 0;
    lane now, seen = {0, 0};

    memcpy(&mask32, mask, 4);
    const uint64_t mask64 = (uint64_t)mask32 << 32 | mask32;
    const lane mask128 = {mask64, mask64};

    for (lane now4[4]; n >= 64; p += 64, n -= 64) {
        memcpy(now4, p, 64);
        for (int i = 0; i < 4; i++) {
            now4[i] ^= mask128;
            seen |= now4[i];
        }
        memcpy(p, now4, 64);
    }
    for (; n >= 16; p += 16, n -= 16) {
        memcpy(&now, p, 16);
        now ^= mask128;
        memcpy(p, &now, 16);
        seen |= now;
    }
    if (n >= 8) {
        memcpy(&word, p, 8);
        word ^= mask64;
        memcpy(p, &word, 8);
        high |= word;
        p += 8, n -= 8;
    }
    if (n >= 4) {
        uint32_t half;
        memcpy(&half, p, 4);
        half ^= mask32;
        memcpy(p, &half, 4);
        high |= half;
        p += 4, n -= 4;
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)(p[i] ^ mask[i]);
        high |= (uint8_t)p[i];
    }
    return !((seen[0] | seen[1] | high) & UINT64_C(0x8080808080808080));
}

/* The mask as the byte behind the next n will meet it. */
static void turn(uint8_t mask[4], size_t n)
{
    uint8_t was[4];

    memcpy(was, mask, 4);
    for (size_t i = 0; i < 4; i++)
        mask[i] = was[(i + n) & 3];
}

void rl_ws_fini(rl_ws *ws)
{
    rl_buf_fini(&ws->part);
    rl_deflate_free(ws->deflate);
    ws->deflate = NULL;
}

/* Nothing of ours is worth keeping once the peer has broken the rules. */
static void fail(rl_ws *ws, rl_ws_event *ev, uint16_t code, const char *what)
{
    rl_buf_fini(&ws->part);
    ws->over = true;
    *ev = (rl_ws_event){.type = RL_WS_ERROR, .code = code, .data = rl_str_of(what)};
}

/* Reserved bits: the first alone, on the first frame of a message, says it is compressed. */
static const char *read_reserved(frame *f, uint8_t first, const rl_deflate *deflate)
{
    if ((first & 0x30) || !deflate)
        return "reserved bits are set";
    if (f->opcode != RL_WS_OP_TEXT && f->opcode != RL_WS_OP_BINARY)
        return "a frame that begins no message says that it is compressed";
    f->opcode |= DEFLATED;
    return NULL;
}

/* Read a head (section 5.2) from in[0..n). The answer is what is wrong with it, or NULL;
 * f->head stays 0 while more bytes are needed. */
static const char *read_head(const rl_ws *ws, frame *f, const uint8_t *in, size_t n)
{
    const char *wrong;

    f->head = 0;
    if (n < 2)
        return NULL;

    f->fin = in[0] & 0x80;
    f->opcode = in[0] & 0x0f;
    f->length = in[1] & 0x7f;
    if (RL_UNLIKELY(in[0] & 0x70) && (wrong = read_reserved(f, in[0], ws->deflate)))
        return wrong;
    if (RL_UNLIKELY(!(in[1] & 0x80)))
        return "a client's frame is not masked";
    if (RL_UNLIKELY((f->opcode & 0x7) > 2)) /* 0 to 2 and 8 to 10 are taken */
        return "the opcode is reserved";
    if (is_control(f->opcode) && (!f->fin || f->length > RL_WS_CONTROL_MAX))
        return "a control frame is fragmented or too long";

    size_t wide = f->length == 127 ? 8 : f->length == 126 ? 2 : 0;
    if (n < 2 + wide)
        return NULL;
    if (wide == 2) {
        f->length = (uint64_t)in[2] << 8 | in[3];
        if (f->length < 126)
            return "the length is not in its shortest form";
    } else if (wide == 8) {
        uint64_t length;
        memcpy(&length, in + 2, 8);
        f->length = __builtin_bswap64(length);
        if (f->length >> 63)
            return "the length has its highest bit set";
        if (f->length <= 0xffff)
            return "the length is not in its shortest form";
    }
    if (n < 2 + wide + 4)
        return NULL;
    f->mask = in + 2 + wide;
    f->head = 2 + wide + 4;
    return NULL;
}

/* Read a head from the bytes kept and those just lent; *used counts the latter. A head
 * that is incomplete even so has been kept, and all of p with it. */
static const char *take_head(rl_ws *ws, frame *f, const char *p, size_t n, size_t *used)
{
    const char *wrong;

    if (RL_LIKELY(ws->head_len == 0)) {
        wrong = read_head(ws, f, (const uint8_t *)p, n);
        if (RL_LIKELY(wrong || f->head)) {
            *used = f->head;
            return wrong;
        }
    }

    size_t kept = ws->head_len;
    size_t more = sizeof(ws->head) - kept < n ? sizeof(ws->head) - kept : n;
    if (more)
        memcpy(ws->head + kept, p, more);
    wrong = read_head(ws, f, ws->head, kept + more);
    ws->head_len = wrong || f->head ? 0 : (uint8_t)(kept + more);
    *used = f->head ? f->head - kept : more;
    return wrong;
}

static size_t most_of_message(const rl_ws_rules *rules)
{
    return rules->max_message ? rules->max_message : RL_WS_MESSAGE_DEFAULT;
}

static size_t least(size_t limit, size_t message) /* 0: no limit of its own */
{
    return limit && limit < message ? limit : message;
}

/* Over a limit, it seems. What is compressed may be a little longer than what it becomes. */
static bool admit_long(rl_ws *ws, const rl_ws_rules *rules, const frame *f, rl_ws_event *ev)
{
    size_t message = most_of_message(rules);

    if ((f->opcode | ws->message) & DEFLATED)
        message = rl_deflate_bound(message);
    if (f->length > least(rules->max_frame, message))
        fail(ws, ev, RL_WS_TOO_BIG, "a frame is over the limit");
    else if (f->length + ws->part.len > message)
        fail(ws, ev, RL_WS_TOO_BIG, "a message is over the limit");
    else
        return true;
    return false;
}

/* Does this frame fit behind the ones before it (section 5.4) and within the limits? */
static bool admit(rl_ws *ws, const rl_ws_rules *rules, const frame *f, rl_ws_event *ev)
{
    if (is_control(f->opcode))
        return true;

    size_t message = most_of_message(rules);
    size_t most = least(rules->max_frame, message);

    if (f->opcode == RL_WS_OP_CONTINUATION && !ws->message)
        fail(ws, ev, RL_WS_PROTOCOL, "a continuation continues nothing");
    else if (f->opcode != RL_WS_OP_CONTINUATION && ws->message)
        fail(ws, ev, RL_WS_PROTOCOL, "a message begins inside another");
    else if (RL_UNLIKELY(f->length > most || f->length + ws->part.len > message))
        return admit_long(ws, rules, f, ev);
    else
        return true;
    return false;
}

/* Sections 5.5.1 and 7.4. */
static void tell_close(rl_ws *ws, rl_str data, rl_ws_event *ev)
{
    unsigned code = RL_WS_NO_STATUS;

    if (data.n == 1) {
        fail(ws, ev, RL_WS_PROTOCOL, "a close frame holds half a status code");
        return;
    }
    if (data.n) {
        code = (unsigned)(uint8_t)data.p[0] << 8 | (uint8_t)data.p[1];
        data = (rl_str){data.p + 2, data.n - 2};
        if (!rl_ws_close_code_valid(code)) {
            fail(ws, ev, RL_WS_PROTOCOL, "a close frame holds a status code that may not be sent");
            return;
        }
        if (!rl_utf8_valid(data)) {
            fail(ws, ev, RL_WS_BAD_DATA, "the reason in a close frame is not UTF-8");
            return;
        }
    }
    ws->over = ws->spent = true; /* also a message that will not be finished now */
    *ev = (rl_ws_event){.type = RL_WS_CLOSE, .code = (uint16_t)code, .data = data};
}

static void tell_control(rl_ws *ws, uint8_t opcode, rl_str data, rl_ws_event *ev)
{
    if (opcode == RL_WS_OP_CLOSE)
        tell_close(ws, data, ev);
    else
        *ev =
            (rl_ws_event){.type = opcode == RL_WS_OP_PING ? RL_WS_PING : RL_WS_PONG, .data = data};
}

static void tell_message(uint8_t opcode, rl_str data, rl_ws_event *ev)
{
    *ev = (rl_ws_event){.type = opcode == RL_WS_OP_TEXT ? RL_WS_TEXT : RL_WS_BINARY, .data = data};
}

/* A message as it was before it was compressed, into part. */
static void tell_inflated(rl_ws *ws, const rl_ws_rules *rules, uint8_t opcode, rl_str data,
                          rl_ws_event *ev)
{
    rl_buf out = {0};
    rl_inflated result = rl_inflate_message(ws->deflate, data, most_of_message(rules), &out);

    opcode &= (uint8_t)~DEFLATED;
    rl_buf_fini(&ws->part);
    ws->part = out;
    if (result == RL_INFLATE_BIG) {
        fail(ws, ev, RL_WS_TOO_BIG, "a message is over the limit");
    } else if (result == RL_INFLATE_BAD) {
        fail(ws, ev, RL_WS_BAD_DATA, "a compressed message cannot be inflated");
    } else if (opcode == RL_WS_OP_TEXT && !rl_utf8_valid(rl_buf_str(&out))) {
        fail(ws, ev, RL_WS_BAD_DATA, "a text message is not UTF-8");
    } else {
        ws->spent = true;
        tell_message(opcode, rl_buf_str(&ws->part), ev);
    }
}

/* The frame lies whole at p and is an event by itself. */
static void take_whole(rl_ws *ws, const rl_ws_rules *rules, const frame *f, char *p,
                       rl_ws_event *ev)
{
    rl_str data = {p, (size_t)f->length};
    bool ascii = unmask(p, data.n, f->mask);

    if (is_control(f->opcode))
        tell_control(ws, f->opcode, data, ev);
    else if (RL_UNLIKELY(f->opcode & DEFLATED))
        tell_inflated(ws, rules, f->opcode, data, ev);
    else if (f->opcode == RL_WS_OP_TEXT && !ascii && !rl_utf8_valid(data))
        fail(ws, ev, RL_WS_BAD_DATA, "a text message is not UTF-8");
    else
        tell_message(f->opcode, data, ev);
}

size_t rl_ws_whole(const rl_ws_rules *rules, char *p, size_t n, bool *text, rl_str *data)
{
    const uint8_t *in = (const uint8_t *)p;
    size_t head = 2 + 4, length;

    if (n < head || (in[0] != (0x80 | RL_WS_OP_TEXT) && in[0] != (0x80 | RL_WS_OP_BINARY)))
        return 0;
    length = in[1] ^ 0x80u; /* over 127: it is not masked */
    if (RL_UNLIKELY(length >= 126)) {
        head += 2;
        length = (size_t)in[2] << 8 | in[3];
        if (in[1] != (0x80 | 126) || n < head || length < 126)
            return 0;
    }
    if (length > n - head || length > least(rules->max_frame, most_of_message(rules)))
        return 0;
    *text = in[0] & RL_WS_OP_TEXT;
    *data = (rl_str){p + head, length};
    if (RL_LIKELY(unmask(p + head, length, in + head - 4)) || !*text || rl_utf8_valid(*data))
        return head + length;
    unmask(p + head, length, in + head - 4); /* as it came: twice is not at all */
    return 0;
}

static void begin(rl_ws *ws, const frame *f)
{
    ws->inside = true;
    ws->opcode = f->opcode;
    ws->fin = f->fin;
    ws->left = f->length;
    memcpy(ws->mask, f->mask, 4);
    if (!is_control(f->opcode) && f->opcode != RL_WS_OP_CONTINUATION)
        ws->message = f->opcode; /* a text that ended well has left ws->utf8 fresh */
}

/* All of the current frame has come. */
static void complete(rl_ws *ws, const rl_ws_rules *rules, rl_ws_event *ev)
{
    ws->inside = false;
    if (is_control(ws->opcode)) {
        /* What lies behind part's length stays readable until part changes. */
        ws->part.len -= ws->control;
        rl_str data = {rl_buf_str(&ws->part).p + ws->part.len, ws->control};
        ws->control = 0;
        ws->spent = !ws->message;
        tell_control(ws, ws->opcode, data, ev);
    } else if (ws->fin && (ws->message & DEFLATED)) {
        uint8_t opcode = ws->message;
        ws->message = 0;
        tell_inflated(ws, rules, opcode, rl_buf_str(&ws->part), ev);
    } else if (ws->fin) {
        if (ws->message == RL_WS_OP_TEXT && !rl_utf8_complete(&ws->utf8)) {
            fail(ws, ev, RL_WS_BAD_DATA, "a text message is not UTF-8");
            return;
        }
        tell_message(ws->message, rl_buf_str(&ws->part), ev);
        ws->message = 0;
        ws->spent = true;
    }
}

/* Bytes of the current frame, perhaps its last; returns how many were used. */
static size_t take_part(rl_ws *ws, const rl_ws_rules *rules, char *p, size_t n, rl_ws_event *ev)
{
    if (n > ws->left)
        n = (size_t)ws->left;

    bool ascii = unmask(p, n, ws->mask);
    if (is_control(ws->opcode)) {
        ws->control += (uint8_t)n;
    } else if (ws->message == RL_WS_OP_TEXT && !(ascii && rl_utf8_complete(&ws->utf8)) &&
               !rl_utf8_feed(&ws->utf8, p, n)) {
        fail(ws, ev, RL_WS_BAD_DATA, "a text message is not UTF-8");
        return n;
    }
    rl_buf_add(&ws->part, p, n);
    turn(ws->mask, n);
    ws->left -= n;
    if (ws->left == 0)
        complete(ws, rules, ev);
    return n;
}

size_t rl_ws_feed(rl_ws *ws, const rl_ws_rules *rules, char *p, size_t n, rl_ws_event *ev)
{
    size_t at = 0, used;
    frame f;

    *ev = (rl_ws_event){.type = RL_WS_NONE};
    if (ws->spent) {
        rl_buf_fini(&ws->part);
        ws->spent = false;
    }
    if (ws->over)
        return n;

    while (at < n && ev->type == RL_WS_NONE) {
        if (!ws->inside) {
            const char *wrong = take_head(ws, &f, p + at, n - at, &used);
            at += used;
            if (wrong)
                fail(ws, ev, RL_WS_PROTOCOL, wrong);
            if (wrong || !f.head || !admit(ws, rules, &f, ev))
                break;
            if (f.length <= n - at && (is_control(f.opcode) || (f.fin && !ws->message))) {
                take_whole(ws, rules, &f, p + at, ev);
                return at + (size_t)f.length;
            }
            begin(ws, &f);
        }
        at += take_part(ws, rules, p + at, n - at, ev);
    }
    return ev->type == RL_WS_ERROR ? n : at;
}

size_t rl_ws_head_deflated(char out[RL_WS_HEAD_MAX], rl_ws_opcode opcode, uint64_t payload_len)
{
    size_t n = rl_ws_head(out, opcode, payload_len);

    out[0] = (char)(out[0] | 0x40);
    return n;
}

size_t rl_ws_head(char out[RL_WS_HEAD_MAX], rl_ws_opcode opcode, uint64_t payload_len)
{
    uint8_t *p = (uint8_t *)out;

    p[0] = (uint8_t)(0x80 | opcode);
    if (payload_len < 126) {
        p[1] = (uint8_t)payload_len;
        return 2;
    }
    size_t wide = payload_len > 0xffff ? 8 : 2;
    p[1] = wide == 8 ? 127 : 126;
    for (size_t i = 0; i < wide; i++)
        p[2 + i] = (uint8_t)(payload_len >> 8 * (wide - 1 - i));
    return 2 + wide;
}

size_t rl_ws_close_payload(char out[RL_WS_CONTROL_MAX], uint16_t code, rl_str reason)
{
    size_t n = reason.n;

    if (code == RL_WS_NO_STATUS)
        return 0;
    if (n > RL_WS_CONTROL_MAX - 2)
        for (n = RL_WS_CONTROL_MAX - 2; n && ((uint8_t)reason.p[n] & 0xc0) == 0x80;)
            n--;
    out[0] = (char)(code >> 8);
    out[1] = (char)(code & 0xff);
    if (n)
        memcpy(out + 2, reason.p, n);
    return 2 + n;
}

bool rl_ws_close_code_valid(unsigned code)
{
    if (code >= 3000)
        return code < 5000;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}
