/* uv_echo.c - the floor: a TCP echo on bare libuv.
 *
 * The least that a server on this loop can do per message: one read into a shared buffer, one
 * try-write of the same bytes. No protocol, no script, no limits. What a short write leaves is
 * copied and queued, so that nothing is lost.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BACKLOG = 4096 };

static char shared[1 << 18];

static void must(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "uv_echo: %s: %s\n", what, uv_strerror(rc));
        exit(1);
    }
}

static void *allocate(size_t n)
{
    void *p = malloc(n);

    must(p ? 0 : UV_ENOMEM, "memory");
    return p;
}

static void on_closed(uv_handle_t *h)
{
    free(h);
}

static void close_conn(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(shared, sizeof(shared));
}

static void on_written(uv_write_t *req, int status)
{
    if (status < 0)
        close_conn(req->handle);
    free(req->data);
    free(req);
}

static void write_later(uv_stream_t *stream, const char *bytes, size_t n)
{
    uv_write_t *req = allocate(sizeof(*req));
    uv_buf_t buf = uv_buf_init(allocate(n), (unsigned)n);

    memcpy(buf.base, bytes, n);
    req->data = buf.base;
    must(uv_write(req, stream, &buf, 1, on_written), "write");
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    uv_buf_t out;
    int sent;

    if (n < 0)
        close_conn(stream);
    if (n <= 0)
        return;
    out = uv_buf_init(buf->base, (unsigned)n);
    sent = uv_try_write(stream, &out, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        close_conn(stream);
    else if (sent < n)
        write_later(stream, buf->base + sent, (size_t)(n - sent));
}

static void on_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *conn;

    must(status, "accept");
    conn = allocate(sizeof(*conn));
    must(uv_tcp_init(listener->loop, conn), "tcp");
    must(uv_accept(listener, (uv_stream_t *)conn), "accept");
    must(uv_tcp_nodelay(conn, 1), "nodelay");
    must(uv_read_start((uv_stream_t *)conn, on_alloc, on_read), "read");
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in addr;
    int len = sizeof(addr);

    signal(SIGPIPE, SIG_IGN); /* a peer that left is an error of its write, no more */
    must(uv_ip4_addr("127.0.0.1", 0, &addr), "address");
    must(uv_tcp_init(loop, &listener), "tcp");
    must(uv_tcp_bind(&listener, (struct sockaddr *)&addr, 0), "bind");
    must(uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection), "listen");
    must(uv_tcp_getsockname(&listener, (struct sockaddr *)&addr, &len), "port");
    fprintf(stderr, "uv_echo: listening on http://127.0.0.1:%d\n", ntohs(addr.sin_port));
    return uv_run(loop, UV_RUN_DEFAULT);
}
