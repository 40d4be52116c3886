/* send.c - one request, one answer, and nothing else to do meanwhile: plain blocking calls. */
#include "control/send.h"

#include "base/buf.h"
#include "io/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 15, MAX_ANSWER = 64 * 1024 };

typedef union peer {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} peer;

static socklen_t unix_peer(const rl_endpoint *e, peer *p)
{
    size_t n = strlen(e->name);

    p->un.sun_family = AF_UNIX;
    memcpy(p->un.sun_path, e->name, n);
    if (e->name[0] == '@')
        p->un.sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

/* Every address is also this machine's own. 0: not one to connect to. */
static socklen_t peer_of(const rl_endpoint *e, peer *p)
{
    *p = (peer){0};
    if (e->tls)
        return 0;
    if (e->kind == RL_ENDPOINT_UNIX)
        return unix_peer(e, p);
    if (e->kind == RL_ENDPOINT_IP && e->address.family == RL_ADDRESS_IPV6) {
        p->in6.sin6_family = AF_INET6;
        p->in6.sin6_port = htons(e->address.port);
        p->in6.sin6_scope_id = e->scope;
        memcpy(&p->in6.sin6_addr, e->address.bytes, 16);
        return sizeof(p->in6);
    }
    if (e->kind != RL_ENDPOINT_IP && e->kind != RL_ENDPOINT_ANY && e->kind != RL_ENDPOINT_LOCALHOST)
        return 0;
    p->in.sin_family = AF_INET;
    p->in.sin_port = htons(e->address.port);
    p->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (e->kind == RL_ENDPOINT_IP)
        memcpy(&p->in.sin_addr, e->address.bytes, 4);
    return sizeof(p->in);
}

static int dial(const char *address, rl_err *err)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    rl_endpoint e;
    peer p;

    int rc = rl_endpoint_parse(&e, address, err);
    if (rc < 0)
        return rc;
    socklen_t n = peer_of(&e, &p);
    if (!n)
        return rl_err_set(
            err, -EINVAL,
            "'%s' is no address to send to: HOST:PORT or unix:PATH, without tls:", address);
    int fd = socket(p.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return rl_err_set(err, -errno, "no socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, &p.any, n) == 0)
        return fd;
    rl_err_set(err, -errno, "nobody is at %s: %s", address, strerror(errno));
    close(fd);
    return err->code;
}

/* The message is JSON as it was given: whether it is any is for the server to say. */
static void write_request(rl_buf *out, const char *group, const char *json, const char *token)
{
    rl_buf body = {0};

    rl_buf_add_str(&body, RL_STR("{\"group\":\""));
    for (const char *c = group; *c; c++)
        if (*c == '"' || *c == '\\')
            rl_buf_printf(&body, "\\%c", *c);
        else
            rl_buf_add_c(&body, *c);
    rl_buf_printf(&body, "\",\"message\":%s}", json);
    rl_buf_printf(out,
                  "POST /publish HTTP/1.1\r\nhost: rille\r\nconnection: close\r\n"
                  "content-type: application/json\r\ncontent-length: %zu\r\n"
                  "authorization: Bearer %s\r\n\r\n",
                  body.len, token);
    rl_buf_add_str(out, rl_buf_str(&body));
    rl_buf_fini(&body);
}

static int exchange(int fd, rl_str request, rl_buf *answer, rl_err *err)
{
    char some[4096];
    ssize_t n;

    while (request.n) {
        n = send(fd, request.p, request.n, MSG_NOSIGNAL);
        if (n < 0)
            return rl_err_set(err, -errno, "the server does not listen: %s", strerror(errno));
        request = (rl_str){request.p + n, request.n - (size_t)n};
    }
    while ((n = recv(fd, some, sizeof(some), 0)) > 0 && answer->len < MAX_ANSWER)
        rl_buf_add(answer, some, (size_t)n);
    return n < 0 ? rl_err_set(err, -errno, "no answer from the server: %s", strerror(errno)) : 0;
}

static int tell(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n");
    int status = 0;

    if (sscanf(text, "HTTP/1.1 %d", &status) != 1 || !body) {
        fprintf(stderr, "rille: that is no answer: %.60s\n", text);
        return 1;
    }
    body += 4;
    size_t n = strcspn(body, "\n");
    if (status == 200)
        printf("%.*s\n", (int)n, body);
    else
        fprintf(stderr, "rille: not sent (%d): %.*s\n", status, (int)n, body);
    return status != 200;
}

int rl_send_run(const rl_settings *s)
{
    const char *token = getenv("RILLE_PUBLISH_TOKEN");
    rl_buf request = {0}, answer = {0};
    rl_err err;
    int status = 1;

    int fd = dial(s->admin, &err);
    if (fd < 0) {
        fprintf(stderr, "rille: %s\n", err.msg);
        return 1;
    }
    write_request(&request, s->rest[0], s->rest[1], token ? token : "");
    if (exchange(fd, rl_buf_str(&request), &answer, &err) < 0)
        fprintf(stderr, "rille: %s\n", err.msg);
    else
        status = tell(rl_buf_cstr(&answer));
    close(fd);
    rl_buf_fini(&request);
    rl_buf_fini(&answer);
    return status;
}
